"""What service and workers keep in Redis, its scripts and the connections; all of it can vanish at any moment.

    recast:in:ID             a request's parcel on its way to a worker, until its time is up
    recast:out:ID            the reply's, until it is fetched, at most 30 s
    recast:flight            requests under way by when their time is up: a sorted set, never more than `max_in_flight`
    recast:worker:ID         a worker's last beat, 10 s
    recast:workers           workers by when they beat last: a sorted set, of those that live
    recast:ticket:JOB:CHUNK  who does a chunk, until it lapses
    recast:tickets           tickets by when they lapse: a sorted set, a few for each worker
    recast:next:JOB          the first chunk of a job that has had no ticket yet, an hour
    recast:pause:JOB         until when a job pauses whose chunks fail, two minutes
    recast:open              the jobs whose chunks are given out, 10 s
    recast:tick              whether somebody has looked after them just now, 2 s

and channels of the names `recast:reply:SERVICE`, `recast:dropped`, `recast:workers` and `recast:jobs`. Celery's own
keys have the same prefix. Moments are told by Redis's clock alone: what travels is the time that is left.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from urllib.parse import urlsplit

import redis
import redis.asyncio
from kombu.exceptions import KombuError
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.errors import InvalidParameter, NotReady, Overloaded

PREFIX = "recast:"
FLIGHT = PREFIX + "flight"
WORKERS = PREFIX + "workers"
TICKETS = PREFIX + "tickets"
OPEN = PREFIX + "open"
TICK = PREFIX + "tick"
DROPPED = PREFIX + "dropped"
JOBS = PREFIX + "jobs"

REPLY_S = 30
"""How long a reply waits to be fetched, seconds."""
ALIVE_S = 10
"""How long after its last beat a worker is taken for alive, seconds."""
SILENT_RETRY_S = 5.0
"""What Retry-After says while the broker does not answer, seconds."""

QUIET_S = 5.0
"""Seconds without a word on any channel after which the connection is tried."""

FAILURES = (redis.RedisError, KombuError, OSError)
"""What Redis and Celery raise while the broker does not answer."""

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
"""How a script begins that needs the time: `now` is Redis's own, milliseconds."""

FLEETING = "redis.set_repl(redis.REPL_NONE)"
"""How a script begins whose effects go to no file and no replica: pixels would fill them, and are soon forgotten."""

LITTLE = "#!lua flags=allow-oom\n"
"""How a script begins that Redis must run also when it has no memory left; all others it refuses then."""

_CONNECT_S = 3.0
_ANSWER_S = 10.0
_CHECK_S = 10


def incoming(request_id: str) -> str:
    """Where a request's parcel lies."""
    return f"{PREFIX}in:{request_id}"


def outgoing(request_id: str) -> str:
    """Where a reply's parcel lies."""
    return f"{PREFIX}out:{request_id}"


def replies(service: str) -> str:
    """The channel on which a service hears which replies lie ready."""
    return f"{PREFIX}reply:{service}"


def worker(name: str) -> str:
    """Where a worker's beat lies."""
    return f"{PREFIX}worker:{name}"


def ticket(work: str) -> str:
    """Where the ticket of a piece of work lies, as `JOB:CHUNK`."""
    return f"{PREFIX}ticket:{work}"


def next_chunk(job_id: str) -> str:
    """Where the number of the first chunk lies that has had no ticket yet."""
    return f"{PREFIX}next:{job_id}"


def pause(job_id: str) -> str:
    """Where it lies until when a job pauses."""
    return f"{PREFIX}pause:{job_id}"


def check(url: str | None) -> str:
    """The broker's URL, if it is one that can be meant; raises InvalidParameter."""
    if url is None or urlsplit(url).scheme not in ("redis", "rediss"):
        raise InvalidParameter("the broker must be a redis:// or rediss:// URL; set RECAST_BROKER or give --broker")
    return url


def connect(url: str) -> redis.Redis:
    """A client for threads; a call fails within seconds, and what a restart of Redis cut is tried once more."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=_CONNECT_S,
        socket_timeout=_ANSWER_S,
        health_check_interval=_CHECK_S,
        retry=Retry(NoBackoff(), 1),
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """As `connect`, for an event loop."""
    return redis.asyncio.Redis.from_url(
        url,
        socket_connect_timeout=_CONNECT_S,
        socket_timeout=_ANSWER_S,
        health_check_interval=_CHECK_S,
        retry=AsyncRetry(NoBackoff(), 1),
    )


def trouble(error: Exception) -> NotReady | Overloaded:
    """What whoever asks is told when Redis, or Celery, raised this."""
    if "used memory" in str(error):
        return Overloaded("the queue has no memory left at the moment", retry_after=SILENT_RETRY_S)
    return NotReady("the queue between service and workers does not answer", retry_after=SILENT_RETRY_S)


async def listen(client: redis.asyncio.Redis, *channels: str) -> AsyncGenerator[tuple[str, bytes] | None, None]:
    """Yields what is said, as channel and words; None when listening begins, and when it begins anew after a break.

    What was said before a None may have been missed. Raises what is in FAILURES.
    """
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(*channels)
        while True:
            message = await pubsub.get_message(timeout=QUIET_S)
            if message is None:
                await pubsub.ping()
                message = await pubsub.get_message(timeout=QUIET_S)
            if message is None:
                raise redis.ConnectionError(f"the broker has said nothing for {2 * QUIET_S:g} s")
            if message["type"] == "message":
                yield message["channel"].decode(), message["data"]
            elif message["type"] == "subscribe" and message["data"] == len(channels):
                yield None


class Letterbox:
    """Parcels in Redis, for threads: a service sends requests and fetches replies, a worker the other way round."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def close(self) -> None:
        """Lets the connections go."""
        self._client.close()

    def send(self, parcels: "list[Parcel]", *, most: int) -> tuple[int, int]:
        """Leaves requests, each until its time is up, unless more than `most` would then be under way anywhere.

        Returns how many of them were left, the first ones, and how many are under way now.
        """
        keys = [FLIGHT, *(incoming(parcel.id) for parcel in parcels)]
        words = [word for parcel in parcels for word in (parcel.id, parcel.left_ms, parcel.data)]
        left, under_way = self._client.eval(_SEND, len(keys), *keys, most, *words)
        return int(left), int(under_way)

    def take(self, ids: list[str]) -> "list[Parcel]":
        """Takes requests out; those whose time is up, or that were withdrawn, are gone."""
        keys = [incoming(request_id) for request_id in ids]
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.eval(_LEFT, len(keys), *keys)
            pipeline.mget(keys)
            pipeline.unlink(*keys)
            left, found, _ = pipeline.execute()
        taken = zip(ids, left, found, strict=True)
        return [Parcel(request_id, left_ms, data) for request_id, left_ms, data in taken if data and left_ms > 0]

    def answer(self, service: str, answers: dict[str, bytes]) -> None:
        """Leaves replies and tells the service."""
        keys = [FLIGHT, *map(outgoing, answers)]
        self._client.eval(_ANSWER, len(keys), *keys, REPLY_S, replies(service), *answers, *answers.values())

    def fetch(self, ids: list[str]) -> list[bytes | None]:
        """Takes replies out; None where there is none."""
        keys = [outgoing(request_id) for request_id in ids]
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.mget(keys)
            pipeline.unlink(*keys)
            found: list[bytes | None] = pipeline.execute()[0]
        return found

    def withdraw(self, ids: list[str]) -> None:
        """Takes requests back that nobody waits for any more, wherever they are."""
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.delete(*map(incoming, ids))
            pipeline.zrem(FLIGHT, *ids)
            pipeline.publish(DROPPED, ",".join(ids))
            pipeline.execute()


@dataclass(frozen=True, eq=False)
class Parcel:
    """A request on its way, and the milliseconds until its time is up."""

    id: str
    left_ms: int
    data: bytes


_SEND = (
    "#!lua\n"
    + FLEETING
    + NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local room = ARGV[1] - redis.call('ZCARD', KEYS[1])
local left = math.max(0, math.min(#KEYS - 1, room))
for i = 1, left do
    local id, ms, data = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
    redis.call('SET', KEYS[i + 1], data, 'PX', ms)
    redis.call('ZADD', KEYS[1], now + ms, id)
end
redis.call('PEXPIRE', KEYS[1], 3600000)
return {left, redis.call('ZCARD', KEYS[1])}
"""
)

_ANSWER = (
    LITTLE  # what is answered was let in, and leaves soon
    + FLEETING
    + """
local count = #KEYS - 1
for i = 1, count do
    redis.call('SET', KEYS[i + 1], ARGV[2 + count + i], 'EX', ARGV[1])
    redis.call('ZREM', KEYS[1], ARGV[2 + i])
end
redis.call('PUBLISH', ARGV[2], table.concat(ARGV, ',', 3, 2 + count))
"""
)

_LEFT = """
local left = {}
for i, key in ipairs(KEYS) do left[i] = redis.call('PTTL', key) end
return left
"""
