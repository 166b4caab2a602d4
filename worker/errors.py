"""What can go wrong for whoever sends a picture; each text goes out to strangers as it is: no path, no host in it.

RecastError ─┬─ UnreadableImage    400  unreadable-image        truncated, corrupt, or not what it says it is
             ├─ UnknownModelError  404  unknown-model           no bundle of that name
             ├─ UnknownJob         404  unknown-job             no job of that id, or no longer
             ├─ UnknownResult      404  unknown-result          the job has no such output, or not yet
             ├─ IdempotencyConflict 409 idempotency-conflict    the same key came with another request
             ├─ TooLarge           413  too-large               more bytes, pixels or frames than configured
             ├─ UnsupportedMedia   415  unsupported-media-type  not a picture format that is read here
             ├─ UnknownDomain      422  unknown-domain          no bundle knows the name
             ├─ InvalidDomains     422  invalid-domains         the expression contradicts itself or is no expression
             ├─ NoFace             422  no-face                 a face was asked for and none was found
             ├─ InvalidParameter   422  invalid-parameter       any other parameter
             ├─ Overloaded         503  overloaded              the queue is full; retry_after says when to come back
             ├─ NotReady           503  not-ready               no bundle can translate yet
             └─ TimedOut           504  timed-out               the deadline passed; the work is dropped

EngineError is none of them: a model failed, which is nobody's fault who sends a picture.
"""

from typing import ClassVar


class RecastError(Exception):
    """Any of the errors above; `str(error)` is a sentence that is safe to show, `retry_after` is in seconds."""

    code: ClassVar[str]
    status: ClassVar[int]

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnreadableImage(RecastError):
    """Truncated, corrupt, or not what it says it is."""

    code = "unreadable-image"
    status = 400


class UnknownModelError(RecastError):
    """No bundle has that name; `known` are those that do exist."""

    code = "unknown-model"
    status = 404

    def __init__(self, message: str, *, known: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.known = known


class UnknownJob(RecastError):
    """No job has that id, or it is gone by now."""

    code = "unknown-job"
    status = 404


class UnknownResult(RecastError):
    """The job has no output of that name, or not yet."""

    code = "unknown-result"
    status = 404


class IdempotencyConflict(RecastError):
    """The same Idempotency-Key came with another request."""

    code = "idempotency-conflict"
    status = 409


class TooLarge(RecastError):
    """More bytes, pixels, frames or files than configured."""

    code = "too-large"
    status = 413


class UnsupportedMedia(RecastError):
    """Not a picture format that is read here."""

    code = "unsupported-media-type"
    status = 415


class UnknownDomain(RecastError):
    """No bundle knows the name; `known` are all names, `nearest` is the closest spelling among them."""

    code = "unknown-domain"
    status = 422

    def __init__(self, message: str, *, known: tuple[str, ...] = (), nearest: str | None = None) -> None:
        super().__init__(message)
        self.known = known
        self.nearest = nearest


class InvalidDomains(RecastError):
    """The expression contradicts itself or is no expression."""

    code = "invalid-domains"
    status = 422


class NoFace(RecastError):
    """A face was asked for and none was found."""

    code = "no-face"
    status = 422


class InvalidParameter(RecastError):
    """Any other parameter that is out of its range or not possible here."""

    code = "invalid-parameter"
    status = 422


class Overloaded(RecastError):
    """The queue is full; `retry_after` is computed from its depth and the measured rate."""

    code = "overloaded"
    status = 503


class NotReady(RecastError):
    """No bundle can translate yet; the text says why."""

    code = "not-ready"
    status = 503


class TimedOut(RecastError):
    """The deadline passed; the work is dropped."""

    code = "timed-out"
    status = 504


class EngineError(Exception):
    """A graph that can't be run, or gave what it must not; the message names the bundle and holds no path."""
