"""The keys, scripts and connections of service and workers in Redis; all of it can vanish at any moment.

    recast:in:ID             an order's parcel on its way to a worker, until its time is up; in no file of Redis
    recast:out:ID            a reply's parcel, unless it came on the channel, until it is fetched, at most 30 s
    recast:flight            orders under way by when their time is up: a sorted set, never more than `max_in_flight`
    recast:worker:ID         a worker's last beat, 10 s
    recast:workers           workers by when they beat last: a sorted set, of those that live
    recast:ticket:JOB:CHUNK  who does a chunk, until it lapses; webhooks:JOB, who makes an attempt
    recast:tickets           tickets by when they lapse: a sorted set, a few for each worker
    recast:next:JOB          the first chunk of a job that has had no ticket yet, an hour
    recast:pause:JOB         until when a job pauses whose chunks fail, two minutes
    recast:open              the jobs whose chunks are given out, 10 s
    recast:tick              whether a process has looked after them just now, 2 s

and channels of the names `recast:reply:SERVICE`, `recast:dropped`, `recast:workers` and `recast:jobs`. Celery's own
keys have the same prefix. Only Redis's clock counts: parcels carry the time that is left.
"""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgpack
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
"""How long after its last beat a worker counts as alive, seconds."""
SILENT_RETRY_S = 5.0
"""What Retry-After says while the broker does not answer, seconds."""

CHANNEL_BYTES = 1 << 17
"""Bytes of replies that one message may bring on the channel itself: beyond, fetching them in a thread is quicker."""

CHANNEL_BYTES_IN_ALL = 16 << 20
"""Bytes of replies that may be on their way to one service on its channel: at 32 MiB Redis closes the connection."""

QUIET_S = 5.0
"""Seconds of silence on all channels after which the connection is tested."""

FAILURES = (redis.RedisError, KombuError, OSError)
"""The errors of Redis and Celery while the broker does not answer."""

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
"""The beginning of a script that needs the time: `now` is Redis's own, in milliseconds."""

FLEETING = "redis.set_repl(redis.REPL_NONE)"
"""The beginning of a script whose effects go to no file and no replica: pixels would fill them for nothing."""

LITTLE = "#!lua flags=allow-oom\n"
"""The beginning of a script that Redis must run even without memory left; it then refuses all others."""

_CONNECT_S = 3.0
_ANSWER_S = 10.0
_CHECK_S = 10
_KEPT_S = 60.0
_READ_BYTES = 1 << 20  # each read is a moment in which another thread may take the interpreter


def incoming(request_id: str) -> str:
    """The key of an order's parcel."""
    return f"{PREFIX}in:{request_id}"


def outgoing(request_id: str) -> str:
    """The key of a reply's parcel."""
    return f"{PREFIX}out:{request_id}"


def replies(service: str) -> str:
    """The channel that tells a service which replies are ready."""
    return f"{PREFIX}reply:{service}"


def worker(name: str) -> str:
    """The key of a worker's beat."""
    return f"{PREFIX}worker:{name}"


def ticket(work: str) -> str:
    """The key of the ticket of a piece of work, `JOB:CHUNK`."""
    return f"{PREFIX}ticket:{work}"


def next_chunk(job_id: str) -> str:
    """The key of the number of the first chunk that has had no ticket yet."""
    return f"{PREFIX}next:{job_id}"


def pause(job_id: str) -> str:
    """The key of the moment until which a job pauses."""
    return f"{PREFIX}pause:{job_id}"


def check(url: str | None) -> str:
    """The broker's URL; raises InvalidParameter if it is not one of Redis."""
    if url is None or urlsplit(url).scheme not in ("redis", "rediss"):
        raise InvalidParameter("the broker must be a redis:// or rediss:// URL; set RECAST_BROKER or give --broker")
    return url


def connect(url: str) -> redis.Redis:
    """A client for threads; a call fails within seconds, and is tried once more if Redis was restarted."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=_CONNECT_S,
        socket_timeout=_ANSWER_S,
        socket_read_size=_READ_BYTES,
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


def translator_error(error: Exception) -> NotReady | Overloaded:
    """The Translator's error for an error of Redis or Celery."""
    if "used memory" in str(error):
        return Overloaded("the queue has no memory left at the moment", retry_after=SILENT_RETRY_S)
    return NotReady("the queue between service and workers does not answer", retry_after=SILENT_RETRY_S)


async def listen(client: redis.asyncio.Redis, *channels: str) -> AsyncGenerator[tuple[str, bytes] | None, None]:
    """Yields messages as channel and bytes; None when listening begins, and when it begins again after a break.

    Messages before a None may have been missed. Raises the errors of FAILURES.
    """
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(*channels)
        while True:
            message = await pubsub.get_message(timeout=QUIET_S)
            if message is None:
                # A connection that was cut silently looks like a quiet one: only a ping shows it.
                await pubsub.ping()
                message = await pubsub.get_message(timeout=QUIET_S)
            if message is None:
                raise redis.ConnectionError(f"the broker has been silent for {2 * QUIET_S:g} s")
            if message["type"] == "message":
                yield message["channel"].decode(), message["data"]
            elif message["type"] == "subscribe" and message["data"] == len(channels):
                yield None  # the last subscription is confirmed


def read_replies(data: bytes) -> dict[str, bytes | None]:
    """A message on a service's channel: replies by order, None for those to be fetched. Raises ValueError."""
    try:
        found = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException) as error:
        raise ValueError(f"{len(data)} bytes are not a message of replies") from error
    if not isinstance(found, dict) or not all(
        isinstance(key, str) and isinstance(value, bytes | None) for key, value in found.items()
    ):
        raise ValueError(f"{len(data)} bytes are not a message of replies")
    return found


class Letterbox:
    """Parcels in Redis, for threads: a service sends orders and fetches replies, a worker takes orders and answers."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._room = 0  # for orders, when some were sent last
        self._kept: tuple[float, bool] | None = None  # when Redis was asked, and whether it copies its keys anywhere

    def close(self) -> None:
        """Lets the connections go."""
        self._client.close()

    def send(self, parcels: "list[Parcel]", *, most: int) -> tuple[int, int]:
        """Puts orders into Redis until their time is up, as many as keep `most` under way in all services together.

        Returns how many it put, which are the first ones, and how many are under way now.
        """
        words = [word for parcel in parcels for word in (parcel.id, parcel.left_ms)]
        in_one = len(parcels) < self._room  # else Redis is asked first, so that no pixels travel for nothing
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.eval(_ADMIT, 1, FLIGHT, most, *words)
            if in_one:
                self._put(pipeline, parcels)
            (left, under_way), *_ = pipeline.execute()
            if not in_one and left:
                self._put(pipeline, parcels[:left])
                pipeline.execute()
            elif in_one and left < len(parcels):
                pipeline.unlink(*(incoming(parcel.id) for parcel in parcels[left:]))
                pipeline.execute()
        self._room = most - under_way
        return left, under_way

    def take(self, ids: list[str]) -> "list[Parcel]":
        """Takes orders out, except those whose time is up and those that were withdrawn."""
        keys = [incoming(request_id) for request_id in ids]
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.eval(_LEFT, len(keys), *keys)
            pipeline.mget(keys)
            pipeline.unlink(*keys)
            left, found, _ = pipeline.execute()
        taken = zip(ids, left, found, strict=True)
        return [Parcel(request_id, left_ms, data) for request_id, left_ms, data in taken if data and left_ms > 0]

    def answer(self, service: str, answers: dict[str, bytes], *, at_once: bool = False) -> None:
        """Puts replies into Redis and tells the service; `at_once` sends them on its channel and saves a round trip."""
        if at_once:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.publish(replies(service), msgpack.packb(answers))
                pipeline.zrem(FLIGHT, *answers)
                pipeline.execute()
            return
        with self._client.pipeline(transaction=False) as pipeline:
            for request_id, data in answers.items():
                self._set(pipeline, outgoing(request_id), data, REPLY_S * 1000)
            pipeline.zrem(FLIGHT, *answers)
            pipeline.publish(replies(service), msgpack.packb(dict.fromkeys(answers)))
            pipeline.execute()

    def fetch(self, ids: list[str]) -> list[bytes | None]:
        """Takes replies out; None where there is none."""
        keys = [outgoing(request_id) for request_id in ids]
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.mget(keys)
            pipeline.unlink(*keys)
            found: list[bytes | None] = pipeline.execute()[0]
        return found

    def withdraw(self, ids: list[str]) -> None:
        """Withdraws orders whose callers gave up, wherever they are."""
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.delete(*map(incoming, ids))
            pipeline.zrem(FLIGHT, *ids)
            pipeline.publish(DROPPED, ",".join(ids))
            pipeline.execute()

    def _put(self, pipeline: redis.client.Pipeline, parcels: "list[Parcel]") -> None:
        for parcel in parcels:
            self._set(pipeline, incoming(parcel.id), parcel.data, parcel.left_ms)

    def _set(self, pipeline: redis.client.Pipeline, key: str, data: bytes, ms: int) -> None:
        now = time.monotonic()
        if self._kept is None or now - self._kept[0] > _KEPT_S:
            found: dict[str, object] = self._client.info("persistence", "replication")
            self._kept = now, bool(found.get("aof_enabled")) or bool(found.get("connected_slaves"))
        # Pixels must go to no file and no replica. The script sees to that, but costs more than a plain SET.
        if self._kept[1]:
            pipeline.eval(_SET, 1, key, data, ms)
        else:
            pipeline.execute_command("SET", key, data, "PX", ms)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, eq=False)
class Parcel:
    """An order on its way, and the milliseconds until its time is up."""

    id: str
    left_ms: int
    data: bytes


_ADMIT = (
    "#!lua\n"
    + FLEETING
    + NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local left = math.max(0, math.min((#ARGV - 1) / 2, ARGV[1] - redis.call('ZCARD', KEYS[1])))
for i = 1, left do redis.call('ZADD', KEYS[1], now + ARGV[2 * i + 1], ARGV[2 * i]) end
redis.call('PEXPIRE', KEYS[1], 3600000)
return {left, redis.call('ZCARD', KEYS[1])}
"""
)

_SET = FLEETING + " redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"

_LEFT = """
local left = {}
for i, key in ipairs(KEYS) do left[i] = redis.call('PTTL', key) end
return left
"""
