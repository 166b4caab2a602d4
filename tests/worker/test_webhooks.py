"""The courier, with jobs in a real storage and a receiver that answers over HTTP."""

import asyncio
import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from obstore.store import LocalStore
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError
from support.receivers import Receiver, Reply, receiver

from service.schemas import JobSummary
from worker.caller import Caller, Resolver
from worker.errors import InvalidParameter
from worker.jobs import layout
from worker.jobs.layout import Delivery, End, Job
from worker.jobs.webhooks import Courier
from worker.settings import JobSettings
from worker.storage import Storage, open_storage
from worker.wish import Wish

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ENDED = 1_800_000_000.0
TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Fragile(Storage):
    """A storage whose process dies at a chosen write: before it, or just after it."""

    def __init__(self, folder: Path, *, dies_at: int) -> None:
        super().__init__(LocalStore(folder, mkdir=True, automatic_cleanup=True))
        self._left = dies_at

    async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        self._step()
        put = await super().put(path, data, new=new)
        self._step()
        return put

    async def delete(self, path: str) -> None:
        self._step()
        await super().delete(path)
        self._step()

    def _step(self) -> None:
        if self._left == 0:
            raise KilledError
        self._left -= 1


class KilledError(Exception):
    """The process is gone."""


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty storage."""
    return open_storage(str(tmp_path / "storage"))


@pytest.fixture
def clock() -> Clock:
    """The time, which stands still."""
    return Clock()


def settings(*, secret: str | None = SECRET, private: bool = True) -> JobSettings:
    """Settings that come from nowhere but here."""
    return JobSettings.model_construct(webhook_secret=secret and SecretStr(secret), webhook_private=private)


def made(
    storage: Storage,
    wanted: JobSettings | None = None,
    *,
    caller: Caller | None = None,
    clock: Callable[[], float] = time.time,
    draw: Callable[[], float] = lambda: 1.0,
) -> Courier:
    """A courier that draws the longest waits."""
    wanted = wanted or settings()
    caller = caller or Caller(private=wanted.webhook_private, tls=TRUSTS_NOBODY)
    return Courier(storage, wanted, describe=JobSummary.of, caller=caller, clock=clock, draw=draw)


def run(main: Coroutine[Any, Any, Any]) -> None:
    """Runs a test's own steps."""
    asyncio.run(main)


async def owe(storage: Storage, url: str, job_id: str = "job", *, state: str = "done", over: bool = True) -> None:
    """Stores a job whose webhook is to be sent."""
    job = Job(
        id=job_id,
        created=ENDED - 60,
        wish=Wish(domains=("blond", "-smiling"), model="avatars@1"),
        pictures=3,
        upload="u",
        webhook=url,
    )
    await storage.put(layout.hook_mark(job_id), b"")
    await storage.put(layout.job(job_id), job.bytes())
    if over:
        end = End.model_validate({"state": state, "at": ENDED, "done": 2, "failed": 1})
        await storage.put(layout.done(job_id), end.bytes())


async def state(courier: Courier) -> Delivery:
    """The stored state of the one job's webhook."""
    found = await courier.state("job")
    assert found is not None
    return found


async def marks(storage: Storage) -> set[str]:
    """The marks of webhooks in storage."""
    return {stored.path for folder in ("hooks", "dead") async for stored in storage.list(folder)}


def verified(there: Receiver, secret: str = SECRET) -> list[Any]:
    """What was received, each verified by the library that receivers use."""
    return [Webhook(secret).verify(request.body, request.headers) for request in there.received]


def test_a_webhook_that_fails_twice_is_delivered_at_the_third_attempt(storage: Storage, clock: Clock) -> None:
    """Every attempt has the same id and a valid signature; the waits are as documented, and then nothing is due."""

    async def main() -> None:
        with receiver(500, 503, 204) as there:
            await owe(storage, there.url())
            courier = made(storage, clock=clock)
            for expected in (5.0, 10.0):
                assert await courier.due() == ["job"]
                assert await courier.deliver("job") == pytest.approx(expected)
                assert await courier.due() == []
                clock.now += expected + 0.001
            assert await courier.deliver("job") is None
            assert await courier.deliver("job") is None
            assert await courier.due() == []
            courier.close()
        assert [request.headers["webhook-id"] for request in there.received] == ["job"] * 3
        times = [int(request.headers["webhook-timestamp"]) for request in there.received]
        assert times[2] - times[0] in (15, 16)
        assert len({json.dumps(body) for body in verified(there)}) == 1
        assert await marks(storage) == set()
        written = await state(courier)
        assert (written.attempts, written.status, written.delivered_at) == (3, 204, clock.now)

    run(main())


@pytest.mark.parametrize("ended", ["done", "failed", "cancelled"])
def test_what_is_sent_is_the_job_without_its_failures(storage: Storage, ended: str) -> None:
    """The body says in a few hundred bytes what became of the job, and where its results are."""

    async def main() -> None:
        with receiver() as there:
            await owe(storage, there.url(), state=ended)
            await made(storage).deliver("job")
        assert len(there.received[0].body) < 1000
        assert there.received[0].headers["content-type"] == "application/json"
        assert verified(there) == [
            {
                "type": f"job.{ended}",
                "timestamp": "2027-01-15T08:00:00Z",
                "data": {
                    "id": "job",
                    "state": ended,
                    "created": "2027-01-15T07:59:00Z",
                    "ended": "2027-01-15T08:00:00Z",
                    "pictures": 3,
                    "done": 2,
                    "failed": 1,
                    "position": None,
                    "rate": None,
                    "seconds_left": None,
                    "domains": ["blond", "-smiling"],
                    "model": "avatars@1",
                    "links": {"self": "/jobs/job", "events": "/jobs/job/events", "results": "/jobs/job/results"},
                },
            }
        ]

    run(main())


@pytest.mark.parametrize("status", [200, 204, 299])
def test_any_success_is_enough(storage: Storage, status: int) -> None:
    """Any status 2xx means that the webhook is delivered."""
    assert attempted(storage, status).delivered_at is not None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 599])
def test_what_may_pass_is_attempted_again(storage: Storage, status: int) -> None:
    """The webhook stays due, and the answer's status is stored."""
    written = attempted(storage, status)
    assert not written.over
    assert (written.status, written.reason) == (status, f"the receiver answered {status}")
    assert asyncio.run(marks(storage)) == {"hooks/job"}


@pytest.mark.parametrize("status", [301, 307, 400, 404, 410, 422])
def test_what_will_not_pass_is_given_up_at_once(storage: Storage, status: int) -> None:
    """Redirects and other errors end it; the mark of the dead webhook stays."""
    written = attempted(storage, Reply(status, {"Location": "http://169.254.169.254/"}))
    assert written.dead_at is not None
    assert (written.status, written.reason) == (status, f"the receiver answered {status}")
    assert asyncio.run(marks(storage)) == {"dead/job"}


def attempted(storage: Storage, reply: Reply | int) -> Delivery:
    """The stored state after one attempt with this answer."""

    async def main() -> Delivery:
        with receiver(reply) as there:
            await owe(storage, there.url())
            courier = made(storage)
            await courier.deliver("job")
            courier.close()
        assert len(there.received) == 1
        return await state(courier)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        (lambda now: "120", 120.0),
        (lambda now: "0", 2.5),
        (lambda now: "1000000", 3600.0),
        (lambda now: format_datetime(datetime.fromtimestamp(int(now) + 300, UTC), usegmt=True), 300.0),
        (lambda now: "Mon, 01 Jan 2024 00:00:00 GMT", 2.5),
        (lambda now: "-5", 2.5),
        (lambda now: "nan", 2.5),
        (lambda now: "soon", 2.5),
        (lambda now: "9" * 5000, 2.5),
    ],
)
def test_a_receiver_may_ask_for_a_longer_wait(
    storage: Storage, clock: Clock, asked: Callable[[float], str], waited: float
) -> None:
    """Retry-After is read as seconds and as a date, up to the longest wait; nonsense is ignored."""

    async def main() -> None:
        with receiver(Reply(503, {"Retry-After": asked(clock.now)})) as there:
            await owe(storage, there.url())
            courier = made(storage, clock=clock, draw=lambda: 0.5)
            assert await courier.deliver("job") == pytest.approx(waited, abs=1)

    run(main())


def test_waits_double_until_a_day_is_over(storage: Storage, clock: Clock) -> None:
    """5 seconds at most, then twice as much each time up to an hour; after a day it is given up, and says why."""

    async def main() -> None:
        with receiver(500) as there:
            await owe(storage, there.url())
            courier = made(storage, clock=clock)
            waits = []
            began = clock.now
            while (wait := await courier.deliver("job")) is not None:
                waits.append(wait)
                assert len(waits) < 100
                clock.now += wait + 0.001
        assert waits[:11] == pytest.approx([5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600], abs=0.01)
        assert waits[10:] == pytest.approx([3600.0] * len(waits[10:]), abs=0.01)
        assert 23 * 3600 <= clock.now - began <= 24 * 3600
        assert len(there.received) == len(waits) + 1
        written = await state(courier)
        assert written.dead_at == clock.now
        assert written.reason == (
            f"given up after {len(there.received)} attempts; in the last one, the receiver answered 500"
        )
        assert await marks(storage) == {"dead/job"}

    run(main())


def test_a_wait_may_be_drawn_as_nothing(storage: Storage, clock: Clock) -> None:
    """If the drawn wait is 0, the next attempt is due at once."""

    async def main() -> None:
        with receiver(500, 204) as there:
            await owe(storage, there.url())
            courier = made(storage, clock=clock, draw=lambda: 0.0)
            assert await courier.deliver("job") == 0.0
            assert await courier.due() == ["job"]
            assert await courier.deliver("job") is None

    run(main())


def test_a_receiver_that_hangs_is_attempted_again(storage: Storage, clock: Clock) -> None:
    """The attempt fails, and the webhook stays due."""

    async def main() -> None:
        with receiver(Reply(hang=True)) as there:
            await owe(storage, there.url())
            caller = Caller(private=True, total_s=0.3, tls=TRUSTS_NOBODY)
            courier = made(storage, caller=caller, clock=clock)
            assert await courier.deliver("job") == pytest.approx(5.0)
        written = await state(courier)
        assert (written.status, written.reason) == (None, "no answer came within 0.3 seconds")

    run(main())


def test_a_name_that_leads_to_a_private_address_is_given_up(storage: Storage) -> None:
    """A forbidden address is found when the webhook is delivered, and nothing is connected to."""

    async def main() -> None:
        with receiver() as there:
            await owe(storage, there.url("localhost", scheme="https"))
            courier = made(storage, settings(private=False))
            courier.check(there.url("localhost", scheme="https"))
            assert await courier.deliver("job") is None
        assert there.received == []
        written = await state(courier)
        assert written.dead_at is not None
        assert written.reason == "the host leads to an address that may not be called"

    run(main())


def test_a_kill_costs_one_repeated_attempt_at_most(tmp_path: Path, clock: Clock) -> None:
    """Killed before or after any write, the next process delivers or gives up the webhook, with the same id."""

    async def main(folder: Path, dies_at: int, status: int) -> None:
        sound = open_storage(str(folder))
        with receiver(status) as there:
            await owe(sound, there.url())
            fragile = made(Fragile(folder, dies_at=dies_at), clock=clock)
            with pytest.raises(KilledError):
                await fragile.deliver("job")
            clock.now += 30
            courier = made(sound, clock=clock)
            for job_id in await courier.due():
                assert await courier.deliver(job_id) is None
        assert len(there.received) in (1, 2)
        assert {request.headers["webhook-id"] for request in there.received} == {"job"}
        assert (await state(courier)).over
        assert await marks(sound) == ({"dead/job"} if status == 410 else set())

    for status, writes in ((204, 3), (410, 4)):
        for dies_at in range(2 * writes):
            run(main(tmp_path / f"{status}-{dies_at}", dies_at, status))


def test_two_processes_make_one_attempt(storage: Storage, clock: Clock) -> None:
    """While one process makes an attempt, the webhook is not due for the other; a failed one is due in time."""
    asked, answer = threading.Event(), threading.Event()

    def look_up(host: str) -> list[str]:
        asked.set()
        assert answer.wait(60)
        return ["127.0.0.1"]

    async def main() -> None:
        with receiver(500) as there:
            await owe(storage, there.url("example.org"))
            caller = Caller(private=True, resolver=Resolver(look_up), tls=TRUSTS_NOBODY)
            first = made(storage, caller=caller, clock=clock)
            second = made(storage, clock=clock)
            attempt = asyncio.create_task(first.deliver("job"))
            await asyncio.to_thread(asked.wait, 60)
            assert await second.due() == []
            assert (await second.deliver("job") or 0) > 0
            answer.set()
            assert await attempt == pytest.approx(5.0)
            assert len(there.received) == 1
            clock.now += 5.001
            assert await second.due() == ["job"]

    run(main())


def test_what_waits_is_not_read_again_before_it_is_due(storage: Storage, clock: Clock) -> None:
    """`due` costs one listing, however many webhooks wait; the one that has waited longest comes first."""

    async def main() -> None:
        with receiver(500) as there:
            courier = made(storage, clock=clock)
            for job_id in ("a", "b"):
                await owe(storage, there.url(), job_id)
                await courier.deliver(job_id)
                clock.now += 1
            assert await courier.due() == []
            await storage.put(layout.webhook("a"), b"not to be read")
            assert await courier.due() == []
            clock.now += 5
            await storage.put(layout.webhook("a"), Delivery(next_at=clock.now, reason="failed").bytes())
            assert await courier.due() == ["b", "a"]

    run(main())


def test_nothing_is_sent_of_a_job_that_is_gone_or_not_over(storage: Storage) -> None:
    """A mark without a job is removed; one that was put just before the job's end stays."""

    async def main() -> None:
        with receiver() as there:
            await storage.put(layout.hook_mark("gone"), b"")
            await owe(storage, there.url(), "open", over=False)
            courier = made(storage)
            assert sorted(await courier.due()) == ["gone", "open"]
            assert await courier.deliver("gone") is None
            assert (await courier.deliver("open") or 0) > 0
            assert await courier.deliver("never") is None
        assert there.received == []
        assert await marks(storage) == {"hooks/open"}
        assert await courier.state("open") is None

    run(main())


def test_a_key_is_changed_without_losing_a_webhook(storage: Storage) -> None:
    """With two keys each webhook has two signatures, and a receiver with either key accepts it."""
    new = "whsec_" + base64.b64encode(bytes(24)).decode()

    async def main() -> None:
        with receiver() as there:
            await owe(storage, there.url())
            await made(storage, settings(secret=f"{SECRET} {new}")).deliver("job")
        assert verified(there, SECRET) == verified(there, new)
        with pytest.raises(WebhookVerificationError):
            verified(there, "whsec_" + base64.b64encode(b"x" * 24).decode())

    run(main())


def test_settings_that_went_wrong_may_come_back(storage: Storage, clock: Clock) -> None:
    """A webhook that can't be sent under the present settings stays due until it can."""

    async def main() -> None:
        with receiver() as there:
            await owe(storage, there.url())
            for wrong in (settings(secret=None), settings(private=False)):
                assert await Courier(storage, wrong, describe=JobSummary.of, clock=clock).deliver("job") is not None
                clock.now += 20
            assert there.received == []
            assert await made(storage, clock=clock).deliver("job") is None
        assert len(there.received) == 1

    run(main())


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (None, "RECAST_WEBHOOK_SECRET is not set"),
        (" ", "RECAST_WEBHOOK_SECRET is not set"),
        ("secret", "is not `whsec_`"),
        (SECRET.removeprefix("whsec_"), "is not `whsec_`"),
        ("whsec_", "is not `whsec_`"),
        ("whsec_not base64", "is not `whsec_`"),
        ("whsec_ä", "is not `whsec_`"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "24 to 64 bytes"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64 bytes"),
        (f"{SECRET} {SECRET[:-5]}", "24 to 64 bytes"),
    ],
)
def test_without_a_key_no_webhook_is_accepted(storage: Storage, secret: str | None, why: str) -> None:
    """Without a valid key webhooks are refused, and the key is not shown."""
    with pytest.raises(InvalidParameter, match=why) as error:
        made(storage, settings(secret=secret)).check("https://example.org/hook")
    assert SECRET.removeprefix("whsec_")[:-5] not in str(error.value)


def test_a_url_is_checked_when_the_job_is_accepted(storage: Storage) -> None:
    """A URL that is forbidden without a look-up is refused at once, and allowed if it is configured."""
    public, private = made(storage, settings(private=False)), made(storage, settings(private=True))
    public.check("https://example.org/hook?token=1")
    for url in ("http://example.org/hook", "https://127.0.0.1/hook", "https://[fd00::1]/hook"):
        with pytest.raises(InvalidParameter):
            public.check(url)
        private.check(url)
    with pytest.raises(InvalidParameter):
        private.check("https://169.254.169.254/")
