"""`recast submit`: pictures as a job on a running service; it loads no service, worker or model."""

import shlex
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal
from cli.options import takes_wish
from worker.wish import Wish

if TYPE_CHECKING:
    from service.client import ClientError, Fetched, Job

_FIRST_CONTACT_S = 5.0
_PATIENCE_S = 300.0


@takes_wish
def submit(
    inputs: Annotated[list[Path] | None, typer.Argument(metavar="IN...", help="Pictures, or folders of them.")] = None,
    wish: Wish | None = None,
    url: Annotated[str, typer.Option(help="The service.")] = "http://127.0.0.1:8000",
    out: Annotated[Path, typer.Option(help="The folder for the results.")] = Path("translated"),
    webhook: Annotated[str | None, typer.Option(help="An https address that is called when the job is over.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="RECAST_KEY", help="A key of the service, where it has any.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the job's id and leave it to itself.")] = False,
    job: Annotated[str | None, typer.Option("--job", help="Go on with this job instead of sending pictures.")] = None,
) -> None:
    """Translate files or folders on a running service, and fetch the results; folders keep their shape."""
    from service.client import Client, InputError, gather

    with terminal.progress() as report, _in_one_line(_Submission(report, url, key, out, job)) as run:
        if job is not None and (inputs or wish is not None):
            raise InputError("--job goes on with what was sent before: leave IN and --domains out")
        if job is None and wish is None:
            raise InputError("--domains says what to ask for, as in --domains blond,smiling")
        pictures = {} if wish is None else gather(inputs or ())
        with Client(url, key, patience=_FIRST_CONTACT_S) as client:
            client.domains()  # a wrong address or key shows before anything is sent
        with Client(url, key, patience=_PATIENCE_S, on_trouble=run.trouble) as client:
            if wish is not None:
                sent = partial(run.sent, len(pictures))
                started = client.submit(
                    pictures, wish, webhook=webhook, idempotency_key=run.idempotency_key, on_progress=sent
                )
                run.accepted(started)
            fetched = None if detach else client.results(run.known_job, out, run.fetched)
    if fetched is None:
        terminal.say(run.known_job)
    elif not _summed_up(fetched):
        raise typer.Exit(1)


class _Submission:
    """One run of the command: what was sent and accepted so far, and what is shown of it."""

    def __init__(self, report: terminal.Report, url: str, key: str | None, out: Path, job: str | None) -> None:
        self.idempotency_key = uuid.uuid4().hex
        self._report = report
        self._url, self._key = url, key
        self._all_sent = False
        self._back = ["recast", "submit", "--url", url, "--out", str(out), "--job"]
        self._job = job
        self._in_trouble = False
        self._last: dict[str, tuple[int, int]] = {}

    @property
    def known_job(self) -> str:
        """The id of the job, which is accepted by now."""
        assert self._job is not None
        return self._job

    def sent(self, of: int, pictures: int, size: int) -> None:
        """So many pictures and bytes are on their way."""
        # From the last picture on, the service may accept the job; sending it again doesn't take that back.
        self._all_sent = self._all_sent or pictures == of
        self._in_trouble = False
        self._report("sending", pictures, of, f"{size / 1e6:.1f} MB")

    def accepted(self, job: "Job") -> None:
        """The service has taken them."""
        self._job = job.id
        terminal.complain(f"job {job.id}: {job.pictures} pictures are accepted")

    def fetched(self, job: "Job", here: int) -> None:
        """The job has come so far, and so many results are here."""
        self._in_trouble = False
        self._show("translating", job.done + job.failed, job.pictures, _note(job))
        self._show("fetching", here + job.failed, job.pictures)

    def _show(self, what: str, done: int, total: int, note: str = "") -> None:
        # Where there is no terminal, each report of a piece of work that is done is a line.
        if done < total or self._last.get(what) != (done, total):
            self._report(what, done, total, note)
        self._last[what] = done, total

    def trouble(self, error: "ClientError", pause: float) -> None:
        """The service can't be reached at the moment."""
        if not self._in_trouble:
            terminal.complain(f"recast: {error}; trying again for {_PATIENCE_S / 60:.0f} minutes")
        self._in_trouble = True

    def way_back(self) -> str:
        """What to do if the command ends now; where the answer to the submission is missing, it asks the service."""
        from service.client import Client, ClientError

        if self._job is None and self._all_sent:
            with suppress(ClientError), Client(self._url, self._key, patience=_FIRST_CONTACT_S) as client:
                found = client.find(self.idempotency_key)
                self._job = found.id if found else None
        if self._job is not None:
            return f"the job goes on, and this comes back to it: {shlex.join([*self._back, self._job])}"
        if not self._all_sent:
            return "nothing was accepted"
        ask = ["curl", f"{self._url.rstrip('/')}/jobs?idempotency_key={self.idempotency_key}"]
        return f"the job may have been accepted, and this shows it if so: {shlex.join(ask)}"


@contextmanager
def _in_one_line(run: _Submission) -> Iterator[_Submission]:
    """Ends the command with a line where the block fails or is interrupted."""
    from service.client import InputError, Problem, Unreachable

    try:
        yield run
    except (InputError, Problem) as error:
        terminal.complain(f"recast: {error}")
        raise typer.Exit(2) from None
    except (Unreachable, OSError) as error:
        terminal.complain(f"recast: {error}; {run.way_back()}")
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        terminal.complain(f"recast: stopped; {run.way_back()}")
        raise typer.Exit(130) from None


def _note(job: "Job") -> str:
    said = []
    if job.state == "queued" and job.position:
        said.append(f"{job.position} jobs before it")
    if job.failed:
        said.append(f"{job.failed} failed")
    if job.rate:
        said.append(f"{job.rate:.1f} pictures/s")
    if job.seconds_left and not terminal.errors.is_terminal:  # a bar has a clock of its own
        said.append(f"{job.seconds_left:.0f} s left")
    return ", ".join(said)


def _summed_up(fetched: "Fetched") -> bool:
    """Prints every failure and the result; whether all pictures are translated."""
    job = fetched.job
    for failure in fetched.failures:
        terminal.complain(f"{failure.name}: {failure.reason}")
    terminal.say(f"{fetched.pictures} of {job.pictures} pictures are in {fetched.folder}")
    if job.state == "cancelled":
        terminal.complain("the job was cancelled")
    return job.state == "done" and not fetched.failures
