"""A job and a client, while worker, Redis and service, real processes by the documented commands, are killed."""

import asyncio
from dataclasses import replace
from pathlib import Path

from benchmarks import _ledger
from benchmarks._client import CUT, HUNG, PICTURE, Client, Request
from benchmarks._deployment import deploy
from benchmarks._ledger import Ledger
from benchmarks.faults import DEADLINE_S, DOMAIN, EMPTIED, REDIS, SERVICE, WORKER, Job, Run, bundle, run
from worker.jobs.layout import Outcome

PICTURES = 140  # five chunks
LAYERS = 4
SLACK_S = 20.0  # nothing here is timed: it must end

FAULTS = ((WORKER, 1), (WORKER, 3), (REDIS, 4), (SERVICE, 4), (EMPTIED, 4))
"""Each fault, and how many chunks must have begun before it."""


def test_faults_lose_no_picture_and_delay_no_request(tmp_path: Path) -> None:
    """A job during which every process is killed and Redis emptied ends like an undisturbed one."""
    calm, disturbed, client, kills = asyncio.run(run_both(tmp_path))
    assert [fault.kind for fault in disturbed.faults] == [kind for kind, _ in FAULTS]
    assert [*calm.problems, *disturbed.problems] == []
    assert _ledger.find_differences(calm.ledger, disturbed.ledger) == []
    assert len(disturbed.ledger.failures) == len(range(0, PICTURES, _ledger.CORRUPT))
    assert client.problems(kills, SLACK_S) == []
    assert client.counts()[PICTURE]


async def run_both(folder: Path) -> tuple[Run, Run, Client, list[float]]:
    """The undisturbed job, the job with faults, the client, and the times at which the service was killed."""
    bundle(folder / "store", LAYERS)
    sent = _ledger.pictures(PICTURES, seed=1)
    with deploy(folder, folder / "store", workers=1, deadline_s=DEADLINE_S) as deployment:
        client = Client(deployment.address, DOMAIN, sent["00/00001.png"], deadline_s=DEADLINE_S)
        calm = await run(deployment, sent)
        async with client.requesting(every_s=0.5):
            disturbed = await run(deployment, sent, disturb)
        return calm, disturbed, client, deployment.service.kills


async def disturb(job: Job) -> None:
    """Causes each fault when enough chunks have begun."""
    for kind, begun in FAULTS:
        while await job.begun() < begun:
            await asyncio.sleep(0.02)
        await job.strike(kind)


SENT = {"a.png": b"good", "b.png": b"bad"}
GOOD = Ledger(
    outcomes=(
        Outcome(name="a.png", output="a.png"),
        Outcome(name="b.png", code="unreadable-image", reason="it is cut"),
    ),
    outputs={"a.png": "hash"},
    zipped=(("a.png", "hash"),),
    failures=(Outcome(name="b.png", code="unreadable-image", reason="it is cut"),),
    status={"state": "done", "pictures": 2, "done": 1, "failed": 1},
    commits=(1.0,),
    chunks_s=(1.0,),
)


def test_the_ledger_reports_lost_doubled_and_contradicted_pictures() -> None:
    """A picture without a record, with two or without a reason, and a ZIP unlike storage, are problems."""
    good, bad = GOOD.outcomes
    assert _ledger.find_problems(SENT, GOOD) == []
    assert "a.png was lost" in _ledger.find_problems(SENT, replace(GOOD, outcomes=(bad,)))
    assert "a.png was recorded 2 times" in _ledger.find_problems(SENT, replace(GOOD, outcomes=(good, good, bad)))
    silent = replace(GOOD, outcomes=(good, bad.model_copy(update={"reason": None})))
    assert "b.png has no output and no reason, or both" in _ledger.find_problems(SENT, silent)
    assert _ledger.find_problems(SENT, replace(GOOD, zipped=(("a.png", "other"),))) == ["the ZIP differs from storage"]
    assert _ledger.find_differences(GOOD, replace(GOOD, outputs={"a.png": "other"}))


def test_the_client_reports_hangs_late_answers_errors_and_cuts() -> None:
    """A hang, a late answer, a 500 and a cut of a running service are problems; a cut after a kill is none."""
    client = Client("", DOMAIN, b"", deadline_s=10.0)
    client.requests = [
        Request(0.0, 1.0, PICTURE),
        Request(1.0, 12.0, "504"),
        Request(19.0, 20.1, CUT),  # killed at 20
        Request(21.0, 21.1, CUT),
        Request(24.0, 24.5, "503"),  # it runs again
    ]
    assert client.problems([20.0], slack_s=1.0) == []
    client.requests = [
        Request(0.0, 11.5, "504"),
        Request(1.0, 20.0, HUNG),
        Request(1.0, 2.0, "500 oh"),
        Request(30.0, 30.1, CUT),
    ]
    assert len(client.problems([], slack_s=1.0)) == 4
    client.requests = [Request(24.0, 24.5, "503"), Request(30.0, 30.1, CUT)]
    assert len(client.problems([20.0], slack_s=1.0)) == 1
