"""Which workers are alive: each reports every two seconds what it can do, and the other processes keep a list."""

import logging
import threading
import time
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis

from worker.queue import broker

BEAT_S = 2.0
"""Seconds between two beats of a worker."""

LOST_S = 3 * BEAT_S
"""Seconds after its last beat when a service takes a worker for killed."""

_log = logging.getLogger(__name__)


class Beat(BaseModel):
    """What a worker reports of itself."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    name: str
    """The worker's own name, new at each start."""
    version: str = ""
    """The version of Recast that it runs; empty: an old one, which does not report it."""
    leaves: bool = False
    """Whether it takes no more orders."""
    bundles: tuple[str, ...] = ()
    """`name@version` of the bundles that it can run."""
    refused: dict[str, str] = {}
    """`name@version` of the bundles that it has and that do not load, and why."""
    providers: tuple[str, ...] = ()
    """The execution providers that its graphs really run on."""
    rows: int = 1
    """Pictures of one batch, at most."""
    rate: float | None = None
    """Pictures per second of work; None before the first batch."""
    bulk: int = 0
    """Chunks of jobs that it does at a time."""


class Crew:
    """The workers whose beats came within the last seconds; safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: dict[str, tuple[float, Beat]] = {}
        self._lost: set[str] = set()

    def hear(self, data: bytes, age_s: float = 0.0) -> None:
        """Notes a beat that is `age_s` seconds old; logs anything else and skips it."""
        try:
            beat = Beat.model_validate_json(data)
        except ValidationError:
            _log.warning("a message on %s is not a beat: %.100r", broker.WORKERS, data)
            return
        with self._lock:
            self._heard[beat.name] = self._clock() - age_s, beat

    @property
    def beats(self) -> list[Beat]:
        """The last beat of each worker that is alive and stays."""
        old = self._clock() - broker.ALIVE_S
        with self._lock:
            self._heard = {name: heard for name, heard in self._heard.items() if heard[0] > old}
            return [beat for _, beat in self._heard.values() if not beat.leaves]

    def lost_another(self) -> bool:
        """Whether a worker fell silent since the last call without reporting that it leaves."""
        old, before = self._clock() - LOST_S, self._lost
        with self._lock:
            self._lost = {name for name, (at, beat) in self._heard.items() if at <= old and not beat.leaves}
        return not self._lost <= before


async def say(client: Redis, beat: Beat) -> None:
    """Publishes a beat, and keeps it for processes that ask within the next seconds."""
    keys = [broker.WORKERS, broker.worker(beat.name)]
    await client.eval(_SAY, len(keys), *keys, beat.name, beat.model_dump_json(), broker.ALIVE_S * 1000)


async def hear(client: Redis, crew: Crew) -> None:
    """Notes the last beat of every worker that is alive."""
    found = await client.eval(_HEAR, 1, broker.WORKERS, broker.ALIVE_S * 1000, broker.worker(""))
    for age_ms, data in zip(found[::2], found[1::2], strict=True):
        crew.hear(data, age_ms / 1000)


_SAY = (
    broker.LITTLE
    + broker.FLEETING
    + broker.NOW
    + """
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[2])
"""
)

_HEAR = (
    broker.NOW
    + """
local found = {}
local names = redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[1], '+inf', 'WITHSCORES')
for i = 1, #names, 2 do
    local beat = redis.call('GET', ARGV[2] .. names[i])
    if beat then
        found[#found + 1] = now - names[i + 1]
        found[#found + 1] = beat
    end
end
return found
"""
)
