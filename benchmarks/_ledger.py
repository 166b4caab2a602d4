"""The pictures of a job, and what storage, its records, the ZIP and the service say became of them."""

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
"""One picture out of so many can't be read."""

_COARSE = 8
_ANSWER_S = 60.0


@dataclass(frozen=True)
class Kept:
    """What became of a job, said by each who knows."""

    outcomes: tuple[Outcome, ...]
    """Of the records of finished chunks, all there are, in order."""
    outputs: Mapping[str, str]
    """Names and hashes of what lies in storage."""
    zipped: tuple[tuple[str, str], ...]
    """Names and hashes of what is in the ZIP, but for its list of failures."""
    failures: tuple[Outcome, ...]
    """The ZIP's list of failures."""
    told: Mapping[str, Any]
    """GET /jobs/ID."""
    commits: tuple[float, ...]
    """When chunks were finished, sorted, seconds since 1970."""
    tries_s: tuple[float, ...]
    """From the first try to the commit of each chunk, in seconds."""


def pictures(count: int, seed: int) -> dict[str, bytes]:
    """PNGs by name, no two the same, and one of CORRUPT unreadable."""
    draw = np.random.default_rng(seed)
    return {f"{number // 100:02}/{number:05}.png": _picture(draw, number) for number in range(count)}


def archive(sent: Mapping[str, bytes]) -> bytes:
    """A ZIP of them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in sent.items():
            made.writestr(name, data)
    return file.getvalue()


async def kept(storage: Storage, address: str, job_id: str) -> Kept:
    """Asks everybody."""
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
        told = (await client.get(f"/jobs/{job_id}")).raise_for_status().json()
        answer = (await client.get(f"/jobs/{job_id}/results")).raise_for_status().content
    with zipfile.ZipFile(io.BytesIO(answer)) as file:
        files = [(each.filename, file.read(each)) for each in file.infolist()]
    failures = [json.loads(data) for name, data in files if name == results.FAILURES]
    return Kept(
        outcomes=tuple(outcome for record in finished for outcome in record.outcomes),
        outputs=outputs,
        zipped=tuple((name, _hash(data)) for name, data in files if name != results.FAILURES),
        failures=tuple(Outcome.model_validate(each) for listed in failures for each in listed),
        told=told,
        commits=tuple(sorted(put_at for _, put_at in records)),
        tries_s=tuple(put_at - at for (_, put_at), at in zip(sorted(records), begun, strict=True)),
    )


def broken(sent: Mapping[str, bytes], found: Kept) -> list[str]:
    """Where somebody says otherwise than that every picture has one output, or one failure with its reason."""
    wrong = []
    times = Counter(outcome.name for outcome in found.outcomes)
    wrong += [f"{name} was lost" for name in sent if not times[name]]
    wrong += [f"{name} was recorded {count} times" for name, count in times.items() if count > 1 or name not in sent]
    wrong += [
        f"{each.name} has no output and no reason, or both"
        for each in found.outcomes
        if (each.output is None) != bool(each.code and each.reason)
    ]
    named = Counter(outcome.output for outcome in found.outcomes if outcome.output)
    wrong += [f"{name} is the output of {count} pictures" for name, count in named.items() if count > 1]
    if named.keys() != found.outputs.keys():
        wrong.append(f"records and storage differ about {sorted(named.keys() ^ found.outputs.keys())[:5]}")
    if sorted(found.zipped) != sorted(found.outputs.items()):
        wrong.append("the ZIP is not what lies in storage")
    if list(found.failures) != [outcome for outcome in found.outcomes if outcome.output is None]:
        wrong.append("the ZIP's list of failures is not that of the records")
    counts = ("done", len(sent), len(named), len(found.failures))
    if tuple(found.told[key] for key in ("state", "pictures", "done", "failed")) != counts:
        wrong.append(f"the service says {found.told}, and not {counts}")
    return wrong


def differences(one: Kept, other: Kept) -> list[str]:
    """What two jobs of the same pictures made different."""
    wrong = [
        f"{was.name}: {was} before, {now} now"
        for was, now in zip(one.outcomes, other.outcomes, strict=False)
        if was != now
    ]
    names = one.outputs.keys() | other.outputs.keys()
    return wrong + [
        f"{name} has other bytes than in the undisturbed run"
        for name in sorted(names)
        if one.outputs.get(name) != other.outputs.get(name)
    ]


def _picture(draw: np.random.Generator, number: int) -> bytes:
    coarse = Image.fromarray(draw.integers(0, 256, (_COARSE, _COARSE, 3), np.uint8))
    file = io.BytesIO()
    coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(file, "PNG")
    whole = file.getvalue()
    if number % CORRUPT:
        return whole
    return whole[: len(whole) // 2] if number % (2 * CORRUPT) else b"no picture " * 20


async def _read(storage: Storage, path: str) -> bytes:
    data = await storage.get(path)
    return b"" if data is None else data


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()
