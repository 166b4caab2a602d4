"""Kombu's Redis transport, but a message that is none costs a line in the log, not the worker that fetched it."""

import logging
from queue import Empty
from typing import Any

from kombu.transport import redis

BROKEN: tuple[type[Exception], ...] = tuple(
    error for error in (*redis.Transport.connection_errors, *redis.Transport.channel_errors) if error is not KeyError
)
"""What means that the connection is broken; Kombu counts KeyError too, which a bad message raises just as well."""

_log = logging.getLogger(__name__)


class Channel(redis.Channel):
    """Leaves out what can't be read as a message: it has been taken out of its queue already."""

    # What a worker has begun is no longer a message: it is finished, or comes back by its ticket. Kombu would post it
    # once more when the connection breaks, and where Redis is gone write it to a file that nobody reads.
    do_restore = False

    def _brpop_read(self) -> Any:  # type: ignore[override]  # Kombu's takes options, and never gives any
        try:
            return super()._brpop_read()  # type: ignore[no-untyped-call]
        except Empty:
            raise
        except BROKEN:
            raise
        except Exception as error:
            _log.error("something that is no message of ours was left out of a queue: %r", error)
            return True


class Transport(redis.Transport):
    """As Kombu's, with these channels."""

    Channel = Channel
