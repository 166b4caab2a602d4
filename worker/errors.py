"""The errors that a sender of pictures can get; senders see each text as it is, so it holds no path and no host.

RecastError ─┬─ UnreadableImage      unreadable-image        truncated, corrupt, or not what it says it is
             ├─ UnknownModelError    unknown-model           no bundle has that name
             ├─ UnknownJob           unknown-job             no job has that id, or no longer
             ├─ UnknownResult        unknown-result          the job has no such output, or not yet
             ├─ IdempotencyConflict  idempotency-conflict    the same key came with another request
             ├─ TooLarge             too-large               more bytes, pixels or frames than configured
             ├─ UnsupportedMedia     unsupported-media-type  not a picture format that is read here
             ├─ UnknownDomain        unknown-domain          no bundle knows the name
             ├─ InvalidDomains       invalid-domains         the expression contradicts itself or is no expression
             ├─ NoFace               no-face                 a face was asked for and none was found
             ├─ InvalidParameter     invalid-parameter       any other parameter
             ├─ Overloaded           overloaded              the queue is full; retry_after says when to come back
             ├─ NotReady             not-ready               no bundle can translate yet
             └─ TimedOut             timed-out               the deadline passed; the work is dropped

EngineError is not one of them: a model failed, which is not the fault of the person who sends a picture.
service.problems gives each error its HTTP status.
"""

from typing import ClassVar


class RecastError(Exception):
    """Any of the errors above; `str(error)` is a sentence that is safe to show, `retry_after` is in seconds."""

    code: ClassVar[str]

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnreadableImage(RecastError):
    """Truncated, corrupt, or not what it says it is."""

    code = "unreadable-image"


class UnknownModelError(RecastError):
    """No bundle has that name; `known` are those that do exist."""

    code = "unknown-model"

    def __init__(self, message: str, *, known: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.known = known


class UnknownJob(RecastError):
    """No job has that id, or it is gone by now."""

    code = "unknown-job"


class UnknownResult(RecastError):
    """The job has no output of that name, or not yet."""

    code = "unknown-result"


class IdempotencyConflict(RecastError):
    """The same Idempotency-Key came with another request."""

    code = "idempotency-conflict"


class TooLarge(RecastError):
    """More bytes, pixels, frames or files than configured."""

    code = "too-large"


class UnsupportedMedia(RecastError):
    """Not a picture format that is read here."""

    code = "unsupported-media-type"


class UnknownDomain(RecastError):
    """No bundle knows the name; `known` are all names, `nearest` is the closest spelling among them."""

    code = "unknown-domain"

    def __init__(self, message: str, *, known: tuple[str, ...] = (), nearest: str | None = None) -> None:
        super().__init__(message)
        self.known = known
        self.nearest = nearest


class InvalidDomains(RecastError):
    """The expression contradicts itself or is no expression."""

    code = "invalid-domains"


class NoFace(RecastError):
    """A face was asked for and none was found."""

    code = "no-face"


class InvalidParameter(RecastError):
    """Any other parameter that is out of its range or not possible here."""

    code = "invalid-parameter"


class Overloaded(RecastError):
    """The queue is full; `retry_after` is computed from its depth and the measured rate."""

    code = "overloaded"


class NotReady(RecastError):
    """No bundle can translate yet; the text says why."""

    code = "not-ready"


class TimedOut(RecastError):
    """The deadline passed; the work is dropped."""

    code = "timed-out"


class EngineError(Exception):
    """A graph can't be run or gave invalid values; the message names the bundle and holds no path."""
