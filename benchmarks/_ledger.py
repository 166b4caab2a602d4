"""The pictures of a job, and what storage, the job's records, the ZIP and the service say about each of them."""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx
import numpy as np
from PIL import Image

from worker.jobs import layout, results
from worker.jobs.layout import Begun, Finished, Outcome
from worker.storage import Storage

SIZE = 64
"""Side of a picture in pixels."""

CORRUPT = 25
"""One picture in so many can't be read."""

_ANSWER_S = 60.0


@dataclass(frozen=True)
class Ledger:
    """The outcome of a job, according to every source."""

    outcomes: tuple[Outcome, ...]
    """Of all records of finished chunks, in order."""
    outputs: Mapping[str, str]
    """Hashes of the outputs in storage, by name."""
    zipped: tuple[tuple[str, str], ...]
    """Names and hashes of the files in the ZIP, without its list of failures."""
    failures: tuple[Outcome, ...]
    """The ZIP's list of failures."""
    status: Mapping[str, Any]
    """The answer to GET /jobs/ID."""
    commits: tuple[float, ...]
    """When chunks were finished, sorted, seconds since 1970."""
    chunks_s: tuple[float, ...]
    """Seconds from the first try of each chunk to its commit."""


def pictures(count: int, seed: int) -> dict[str, bytes]:
    """Different PNGs by name; one in CORRUPT can't be read."""
    draw = np.random.default_rng(seed)
    made = {}
    for number in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8))
        file = io.BytesIO()
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(file, "PNG")
        data = file.getvalue()
        if number % (2 * CORRUPT) == 0:
            data = b"no picture " * 20
        elif number % CORRUPT == 0:
            data = data[: len(data) // 2]
        made[f"{number // 100:02}/{number:05}.png"] = data
    return made


def archive(sent: Mapping[str, bytes]) -> bytes:
    """A ZIP of the pictures."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in sent.items():
            made.writestr(name, data)
    return file.getvalue()


async def read_ledger(storage: Storage, address: str, job_id: str) -> Ledger:
    """Reads all sources of a job that has ended."""
    records: list[tuple[str, float]] = []
    async for stored in storage.list(layout.finished_folder(job_id)):
        if layout.counts(stored.path):
            records.append((stored.path, stored.put_at.timestamp()))
    folder, outputs = layout.outputs(job_id) + "/", {}
    async for stored in storage.list(layout.outputs(job_id)):
        outputs[stored.path.removeprefix(folder)] = _hash(await _read(storage, stored.path))
    begun = [
        Begun.model_validate_json(await _read(storage, layout.begun(job_id, counts[0]))).at
        for path, _ in sorted(records)
        if (counts := layout.counts(path))
    ]
    finished = [Finished.model_validate_json(await _read(storage, path)) for path, _ in sorted(records)]
    async with httpx.AsyncClient(base_url=address, timeout=_ANSWER_S) as client:
        status = (await client.get(f"/jobs/{job_id}")).raise_for_status().json()
        answer = (await client.get(f"/jobs/{job_id}/results")).raise_for_status().content
    with zipfile.ZipFile(io.BytesIO(answer)) as file:
        files = [(each.filename, file.read(each)) for each in file.infolist()]
    failures = [json.loads(data) for name, data in files if name == results.FAILURES]
    return Ledger(
        outcomes=tuple(outcome for record in finished for outcome in record.outcomes),
        outputs=outputs,
        zipped=tuple((name, _hash(data)) for name, data in files if name != results.FAILURES),
        failures=tuple(Outcome.model_validate(each) for listed in failures for each in listed),
        status=status,
        commits=tuple(sorted(put_at for _, put_at in records)),
        chunks_s=tuple(put_at - at for (_, put_at), at in zip(sorted(records), begun, strict=True)),
    )


def find_problems(sent: Mapping[str, bytes], found: Ledger) -> list[str]:
    """Where a source contradicts that every picture has either one output or one failure with its reason."""
    problems = []
    times = Counter(outcome.name for outcome in found.outcomes)
    problems += [f"{name} was lost" for name in sent if not times[name]]
    problems += [f"{name} was recorded {count} times" for name, count in times.items() if count > 1 or name not in sent]
    problems += [
        f"{each.name} has no output and no reason, or both"
        for each in found.outcomes
        if (each.output is None) != bool(each.code and each.reason)
    ]
    named = Counter(outcome.output for outcome in found.outcomes if outcome.output)
    problems += [f"{name} is the output of {count} pictures" for name, count in named.items() if count > 1]
    if named.keys() != found.outputs.keys():
        problems.append(f"records and storage differ in {sorted(named.keys() ^ found.outputs.keys())[:5]}")
    if sorted(found.zipped) != sorted(found.outputs.items()):
        problems.append("the ZIP differs from storage")
    if list(found.failures) != [outcome for outcome in found.outcomes if outcome.output is None]:
        problems.append("the ZIP's list of failures differs from the records")
    counts = ("done", len(sent), len(named), len(found.failures))
    if tuple(found.status[key] for key in ("state", "pictures", "done", "failed")) != counts:
        problems.append(f"the service says {found.status} instead of {counts}")
    return problems


def find_differences(calm: Ledger, disturbed: Ledger) -> list[str]:
    """How the outcome of a disturbed job differs from that of the undisturbed one with the same pictures."""
    problems = [
        f"{was.name}: {was} before, {now} now"
        for was, now in zip(calm.outcomes, disturbed.outcomes, strict=False)
        if was != now
    ]
    names = calm.outputs.keys() | disturbed.outputs.keys()
    return problems + [
        f"{name} has other bytes than in the undisturbed run"
        for name in sorted(names)
        if calm.outputs.get(name) != disturbed.outputs.get(name)
    ]


async def _read(storage: Storage, path: str) -> bytes:
    data = await storage.get(path)
    return b"" if data is None else data


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()
