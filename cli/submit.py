"""`recast submit`: pictures as a job on a running service; loads the client alone, no server code."""

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
    from service.client import ClientError, Job

# A wrong address must show soon. Only a service that has answered once is worth a long wait.
_FIRST_CONTACT_S = 5.0
_PATIENCE_S = 300.0


@takes_wish
def submit(
    inputs: Annotated[list[Path] | None, typer.Argument(metavar="IN...", help="Pictures, or folders of them.")] = None,
    wish: Wish | None = None,
    url: Annotated[str, typer.Option(help="The address of the service.")] = "http://127.0.0.1:8000",
    out: Annotated[Path, typer.Option(help="The folder for the results.")] = Path("translated"),
    webhook: Annotated[
        str | None, typer.Option(help="An https address that the service calls when the job is over.")
    ] = None,
    key: Annotated[str | None, typer.Option(envvar="RECAST_KEY", help="A key of the service, if it needs one.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the job's id and do not wait for it.")] = False,
    job: Annotated[str | None, typer.Option("--job", help="Go on with this job instead of sending pictures.")] = None,
) -> None:
    """Translate files or folders on a running service, and fetch the results; sub-folders are kept."""
    from service.client import Client, InputError, gather

    with terminal.progress() as report, _in_one_line(_Submission(report, url, key, out, job)) as run:
        if job is not None and (inputs or wish is not None):
            raise InputError("--job goes on with a job that was sent before: leave IN and --domains out")
        if job is None and wish is None:
            raise InputError("--domains is missing; write it as in --domains blond,smiling")
        pictures = {} if wish is None else gather(inputs or ())
        with Client(url, key, patience=_FIRST_CONTACT_S) as client:
            client.domains()  # a wrong address or key shows before anything is sent
        with Client(url, key, patience=_PATIENCE_S, on_trouble=run.on_trouble) as client:
            if wish is not None:
                on_sent = partial(run.on_sent, len(pictures))
                started = client.submit(
                    pictures, wish, webhook=webhook, idempotency_key=run.idempotency_key, on_progress=on_sent
                )
                run.on_accepted(started)
            fetched = None if detach else client.results(run.known_job, out, run.on_fetched)
    if fetched is None:
        terminal.say(run.known_job)
        return
    for failure in fetched.failures:
        terminal.complain(f"{failure.name}: {failure.reason}")
    terminal.say(f"{fetched.pictures} of {fetched.job.pictures} pictures are in {fetched.folder}")
    if fetched.job.state == "cancelled":
        terminal.complain("the job was cancelled")
    if fetched.job.state != "done" or fetched.failures:
        raise typer.Exit(1)


class _Submission:
    """One run of the command: what the service has so far, and what the user sees of it."""

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
        """The id of the job; only after the service has accepted it."""
        assert self._job is not None
        return self._job

    def on_sent(self, of: int, pictures: int, size: int) -> None:
        """Shows how many `of` the pictures, and how many bytes, are sent."""
        # Once the last picture is sent, the service may have the job, even if the upload is then repeated.
        self._all_sent = self._all_sent or pictures == of
        self._in_trouble = False
        self._report("sending", pictures, of, f"{size / 1e6:.1f} MB")

    def on_accepted(self, job: "Job") -> None:
        """Keeps the job's id and shows it."""
        self._job = job.id
        terminal.complain(f"job {job.id}: {job.pictures} pictures are accepted")

    def on_fetched(self, job: "Job", here: int) -> None:
        """Shows the job's progress, and how many results are in the folder."""
        self._in_trouble = False
        notes = []
        if job.state == "queued" and job.position:
            notes.append(f"{job.position} jobs before it")
        if job.failed:
            notes.append(f"{job.failed} failed")
        if job.rate:
            notes.append(f"{job.rate:.1f} pictures/s")
        if job.seconds_left and not terminal.errors.is_terminal:  # a bar estimates the time itself
            notes.append(f"{job.seconds_left:.0f} s left")
        self._show("translating", job.done + job.failed, job.pictures, ", ".join(notes))
        self._show("fetching", here + job.failed, job.pictures)

    def _show(self, what: str, done: int, total: int, note: str = "") -> None:
        # Without a terminal each report of finished work is a line, so the same one must not be shown again.
        if done < total or self._last.get(what) != (done, total):
            self._report(what, done, total, note)
        self._last[what] = done, total

    def on_trouble(self, error: "ClientError", pause: float) -> None:
        """Shows the first of several failed attempts in a row."""
        if not self._in_trouble:
            terminal.complain(f"recast: {error}; trying again for {_PATIENCE_S / 60:.0f} minutes")
        self._in_trouble = True

    def way_back(self) -> str:
        """What the user can do after the command ends; asks the service for the job if its answer never came."""
        from service.client import Client, ClientError

        if self._job is None and self._all_sent:
            with suppress(ClientError), Client(self._url, self._key, patience=_FIRST_CONTACT_S) as client:
                found = client.find(self.idempotency_key)
                self._job = found.id if found else None
        if self._job is not None:
            return f"the job goes on; to come back to it: {shlex.join([*self._back, self._job])}"
        if not self._all_sent:
            return "nothing was accepted"
        ask = ["curl", f"{self._url.rstrip('/')}/jobs?idempotency_key={self.idempotency_key}"]
        return f"the job may have been accepted; to look for it: {shlex.join(ask)}"


@contextmanager
def _in_one_line(run: _Submission) -> Iterator[_Submission]:
    """Ends the command with one line if the block fails or is interrupted."""
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
