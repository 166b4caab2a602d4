"""A job and single requests while worker, Redis and service, real processes of the documented commands, are killed."""

import asyncio
from dataclasses import replace
from pathlib import Path

from benchmarks import _ledger
from benchmarks._asker import CUT, HUNG, PICTURE, Asked, Asker
from benchmarks._ledger import Kept
from benchmarks._stand import stand
from benchmarks.faults import DEADLINE_S, DOMAIN, EMPTIED, REDIS, SERVICE, WORKER, Job, Run, bundle, run
from worker.jobs.layout import Outcome

PICTURES = 140  # five chunks: two for each worker that is killed, one for the last
LAYERS = 4
SLACK_S = 20.0  # nothing here is timed: it must end

FAULTS = ((WORKER, 1), (WORKER, 3), (REDIS, 4), (SERVICE, 4), (EMPTIED, 4))
"""Each fault, and after how many begun chunks it comes."""


def test_no_fault_costs_a_picture_or_keeps_anybody_waiting(tmp_path: Path) -> None:
    """With the worker killed twice, Redis killed and emptied and the service killed, the job ends as if undisturbed."""
    calm, wild, asker, kills = asyncio.run(both(tmp_path))
    assert [fault.kind for fault in wild.faults] == [kind for kind, _ in FAULTS]
    assert [*calm.wrong, *wild.wrong] == []
    assert _ledger.differences(calm.kept, wild.kept) == []
    assert len(wild.kept.failures) == len(range(0, PICTURES, _ledger.CORRUPT))
    assert asker.broken(kills, SLACK_S) == []
    assert asker.counts()[PICTURE]


async def both(folder: Path) -> tuple[Run, Run, Asker, list[float]]:
    """The job undisturbed, the job under faults, who asked meanwhile, and when the service was killed."""
    bundle(folder / "store", LAYERS)
    sent = _ledger.pictures(PICTURES, seed=1)
    with stand(folder, folder / "store", workers=1, deadline_s=DEADLINE_S) as there:
        asker = Asker(there.address, DOMAIN, sent["00/00001.png"], deadline_s=DEADLINE_S)
        calm = await run(there, sent)
        async with asker.asking(every_s=0.5):
            wild = await run(there, sent, disturb)
        return calm, wild, asker, there.service.kills


async def disturb(job: Job) -> None:
    """Each fault when its time has come."""
    for kind, begun in FAULTS:
        while await job.begun() < begun:
            await asyncio.sleep(0.02)
        await job.strike(kind)


SENT = {"a.png": b"good", "b.png": b"bad"}
WELL = Kept(
    outcomes=(
        Outcome(name="a.png", output="a.png"),
        Outcome(name="b.png", code="unreadable-image", reason="it is cut"),
    ),
    outputs={"a.png": "hash"},
    zipped=(("a.png", "hash"),),
    failures=(Outcome(name="b.png", code="unreadable-image", reason="it is cut"),),
    told={"state": "done", "pictures": 2, "done": 1, "failed": 1},
    commits=(1.0,),
    tries_s=(1.0,),
)


def test_what_is_lost_twice_or_contradicted_is_seen() -> None:
    """The check reports a picture without a record, with two or without reason, and a ZIP unlike storage."""
    good, bad = WELL.outcomes
    assert _ledger.broken(SENT, WELL) == []
    assert "a.png was lost" in _ledger.broken(SENT, replace(WELL, outcomes=(bad,)))
    assert "a.png was recorded 2 times" in _ledger.broken(SENT, replace(WELL, outcomes=(good, good, bad)))
    silent = replace(WELL, outcomes=(good, bad.model_copy(update={"reason": None})))
    assert "b.png has no output and no reason, or both" in _ledger.broken(SENT, silent)
    assert _ledger.broken(SENT, replace(WELL, zipped=(("a.png", "other"),))) == ["the ZIP is not what lies in storage"]
    assert _ledger.differences(WELL, replace(WELL, outputs={"a.png": "other"}))


def test_what_askers_may_not_meet_is_seen() -> None:
    """The check reports a hang, a late answer, a 500, and a cut while the service lived, but no cut after a kill."""
    asker = Asker("", DOMAIN, b"", deadline_s=10.0)
    asker.asked = [
        Asked(0.0, 1.0, PICTURE),
        Asked(1.0, 12.0, "504"),
        Asked(19.0, 20.1, CUT),  # killed at 20
        Asked(21.0, 21.1, CUT),
        Asked(24.0, 24.5, "503"),  # it is back
    ]
    assert asker.broken([20.0], slack_s=1.0) == []
    asker.asked = [Asked(0.0, 11.5, "504"), Asked(1.0, 20.0, HUNG), Asked(1.0, 2.0, "500 oh"), Asked(30.0, 30.1, CUT)]
    assert len(asker.broken([], slack_s=1.0)) == 4
    asker.asked = [Asked(24.0, 24.5, "503"), Asked(30.0, 30.1, CUT)]
    assert len(asker.broken([20.0], slack_s=1.0)) == 1
