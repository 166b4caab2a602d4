"""The rounds of a process that delivers webhooks by itself: what is due goes out, some at a time, and nothing waits."""

import asyncio
import logging

from worker.jobs.webhooks import Courier
from worker.logs import bear

EVERY_S = 2.0
"""Seconds between two looks at what is due."""

AT_ONCE = 8
"""Deliveries under way at a time: receivers that hang keep few others waiting, and not for long."""

_log = logging.getLogger(__name__)


async def rounds(courier: Courier) -> None:
    """Delivers what is due until it is cancelled; what goes wrong is logged, and tried again."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def deliver(job_id: str) -> None:
        bear(job_id=job_id)
        async with slots:
            try:
                await courier.deliver(job_id)
            except Exception:
                _log.exception("the webhook of job %s could not be tried", job_id)

    while True:
        try:
            due = await courier.due()
        except Exception:
            _log.exception("looking for webhooks failed")
            due = []
        await asyncio.gather(*map(deliver, due))
        await asyncio.sleep(EVERY_S)
