"""A job is accepted whole or not at all, also when senders race, hang up or send too much, or the process dies."""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from obstore.store import LocalStore
from support.objectstores import new_bucket, s3_environment, s3_server
from support.zips import DEFLATED, Member, written

from worker.errors import IdempotencyConflict, InvalidParameter, TooLarge, UnreadableImage
from worker.jobs import intake as module
from worker.jobs import layout
from worker.jobs.intake import Intake, Upload
from worker.jobs.layout import Chunk, Job
from worker.jobs.roots import Roots
from worker.settings import MIB, JobSettings, Limits
from worker.storage import Storage, StorageError, open_storage
from worker.wish import Wish

WISH = Wish(domains=("blond",), model="faces@1")
Pictures = Sequence[tuple[str, bytes]]
CHUNK = 4
PICTURES: Pictures = [(f"{number}.png", b"picture %d" % number) for number in range(CHUNK + 3)]


class Watched(Storage):
    """A storage in a folder that awaits `before(path)` when a put begins."""

    def __init__(self, folder: Path, before: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(LocalStore(folder, mkdir=True))
        self._before = before

    async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
        """Puts after `before`."""
        await self._before(path)
        return await super().put(path, data, new=new)


def intake(storage: Storage, roots: Roots | None = None, *, pictures: int = 1000, bytes: int = MIB) -> Intake:
    """The intake of a storage, with its limits."""
    return Intake(
        storage, roots or Roots({}), JobSettings(job_pictures=pictures, job_bytes=bytes), Limits(max_bytes=100)
    )


async def send(
    entrance: Intake, pictures: Pictures = PICTURES, *, key: str | None = None, wish: Wish = WISH
) -> tuple[Job, bool]:
    """Sends pictures as the service does."""
    upload = await entrance.begin(wish, key=key)
    try:
        for name, data in pictures:
            await upload.add(name, data)
        return await upload.commit()
    finally:
        await upload.abort()


async def entries(storage: Storage, job: Job) -> list[tuple[str, str]]:
    """Name and path of every picture of the job; fails if a chunk is missing."""
    found = []
    for number in range(job.chunks):
        plan = await storage.get(layout.chunk(job.id, job.upload, number))
        assert plan is not None
        chunk = Chunk.model_validate_json(plan)
        assert len(chunk.entries) == min(CHUNK, job.pictures - number * CHUNK)
        found += [(entry.name, entry.path) for entry in chunk.entries]
    return found


async def taken(storage: Storage, job_id: str) -> Pictures:
    """The pictures of a job as a worker will find them; fails if anything is missing."""
    record = await storage.get(layout.job(job_id))
    assert record is not None
    assert await storage.has(layout.open_mark(job_id))
    found = []
    for name, path in await entries(storage, Job.model_validate_json(record)):
        data = await storage.get(path)
        assert data is not None
        found.append((name, data))
    return found


async def inputs(storage: Storage) -> list[str]:
    """What uploads have left in storage."""
    return [stored.path async for stored in storage.list("") if "/inputs/" in stored.path or "uploads/" in stored.path]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of CHUNK pictures, so that a job of several of them is small."""
    monkeypatch.setattr(layout, "CHUNK", CHUNK)
    monkeypatch.setattr(module, "CHUNK", CHUNK)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty storage."""
    return open_storage(str(tmp_path / "storage"))


@pytest.fixture(params=["folder", "s3"])
def either(request: pytest.FixtureRequest, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """An empty storage on disk, and one in a bucket."""
    if request.param == "folder":
        yield storage
        return
    with s3_server() as endpoint:
        for name, value in s3_environment(endpoint).items():
            monkeypatch.setenv(name, value)
        yield open_storage(new_bucket(endpoint))


def test_every_picture_is_kept_in_order(either: Storage) -> None:
    """The job has the pictures that were sent, under their names, and says what was asked."""

    async def main() -> None:
        job, new = await send(intake(either))
        assert new
        assert (job.wish, job.pictures, job.chunks, job.keyed) == (WISH, len(PICTURES), 2, False)
        assert list(await taken(either, job.id)) == list(PICTURES)
        assert not [stored async for stored in either.list("uploads")]

    asyncio.run(main())


def test_names_are_clean_and_unique(storage: Storage) -> None:
    """Hostile and equal names of a form become plain and different ones."""

    async def main() -> None:
        job, _ = await send(
            intake(storage), [("../../a.jpg", b"1"), ("a.png", b"2"), ("A\u202e.PNG", b"3"), ("", b"4")]
        )
        assert [name for name, _ in await taken(storage, job.id)] == ["a.jpg", "a-2.png", "A-3.PNG", "picture"]

    asyncio.run(main())


def test_a_chunk_is_planned_as_soon_as_it_is_full(storage: Storage) -> None:
    """During a long upload only the list of its last chunk is in memory."""

    async def main() -> None:
        upload = await intake(storage).begin(WISH)
        for name, data in [*PICTURES] * 8:
            await upload.add(name, data)
        assert len(upload._entries) < CHUNK
        plans = [path for path in await inputs(storage) if "/chunks/" in path]
        assert len(plans) >= 8
        await upload.abort()

    asyncio.run(main())


@pytest.mark.parametrize(("size", "limit"), [(1, 16), (10, 3)])
def test_few_puts_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, limit: int) -> None:
    """An upload that is faster than the storage holds 16 pictures, and fewer where they are large."""
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", 30)
    monkeypatch.setattr(module, "CHUNK", 1000)
    enough = asyncio.Event()
    running = most = 0

    class Slow(Storage):
        async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
            nonlocal running, most
            if "/chunks/" in path or "/inputs/" not in path:
                return await super().put(path, data, new=new)
            running += 1
            most = max(most, running)
            if running == limit:
                enough.set()
            await enough.wait()
            done = await super().put(path, data, new=new)
            running -= 1
            return done

    async def main() -> None:
        await send(intake(Slow(LocalStore(tmp_path))), [("a.png", bytes(size))] * 40)

    asyncio.run(main())
    assert most == limit


def test_ids_sort_by_time_and_keys_have_one_each(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are 26 plain characters; later jobs have greater ones, and an Idempotency-Key always has the same."""

    async def main() -> None:
        ids = []
        for now in (1e9, 1e9 + 0.002, 2e9, 4e9):
            monkeypatch.setattr(time, "time", lambda now=now: now)
            ids.append((await send(intake(storage), [("a.png", b"x")]))[0].id)
        assert ids == sorted(ids)
        assert len(set(ids)) == 4
        first, _ = await send(intake(storage), key="key")
        again, new = await send(intake(open_storage(str(storage._store.prefix))), key="key")  # type: ignore[union-attr]
        assert (again, new) == (first, False)
        assert first.keyed
        assert all(re.fullmatch("[0-9a-v]{26}", job_id) for job_id in [*ids, first.id])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("pictures", "wish"),
    [
        (PICTURES[:-1], WISH),
        (PICTURES[::-1], WISH),
        ([("other.png", PICTURES[0][1]), *PICTURES[1:]], WISH),
        ([(PICTURES[0][0], b"other"), *PICTURES[1:]], WISH),
        (PICTURES, WISH.model_copy(update={"domains": ("brown",)})),
        (PICTURES, WISH.model_copy(update={"quality": 80})),
    ],
)
def test_the_same_key_with_another_request_is_a_conflict(storage: Storage, pictures: Pictures, wish: Wish) -> None:
    """Another picture, name, order, number or wish is another request; the first one's job stays as it was."""

    async def main() -> None:
        job, _ = await send(intake(storage), key="key")
        before = sorted(await inputs(storage))
        with pytest.raises(IdempotencyConflict):
            await send(intake(storage), pictures, key="key", wish=wish)
        assert sorted(await inputs(storage)) == before
        assert list(await taken(storage, job.id)) == list(PICTURES)

    asyncio.run(main())


@pytest.mark.parametrize("argument", ["webhook", "source", "destination"])
def test_where_pictures_come_from_and_go_is_part_of_the_request(tmp_path: Path, argument: str) -> None:
    """The same key with another webhook, source or destination is a conflict."""
    roots = Roots({"photos": str(tmp_path / "photos")})

    async def begin(entrance: Intake, where: str | None) -> tuple[Job, bool]:
        given = {name: where if name == argument else None for name in ("webhook", "source", "destination")}
        upload = await entrance.begin(WISH, key="key", **given)
        await upload.add("a.png", b"x")
        return await upload.commit()

    async def main() -> None:
        entrance = intake(open_storage(str(tmp_path / "storage")), roots)
        first, _ = await begin(entrance, "photos/a")
        assert getattr(first, argument) == "photos/a"
        assert await begin(entrance, "photos/a") == (first, False)
        for other in ("photos/b", None):
            with pytest.raises(IdempotencyConflict):
                await begin(entrance, other)

    asyncio.run(main())


def test_of_parallel_calls_with_one_key_one_makes_the_job(either: Storage) -> None:
    """All senders get the same job, one of them as new, and what the others stored is gone."""

    async def main() -> None:
        entrances = [intake(either) for _ in range(4)]
        answers = await asyncio.gather(*(send(entrance, PICTURES[:3], key="key") for entrance in entrances))
        assert len({job.id for job, _ in answers}) == 1
        assert len({job.upload for job, _ in answers}) == 1
        assert [new for _, new in answers].count(True) == 1
        job = answers[0][0]
        assert list(await taken(either, job.id)) == list(PICTURES[:3])
        assert all(path.startswith(layout.inputs(job.id, job.upload)) for path in await inputs(either))

    asyncio.run(main())


def test_parallel_calls_with_one_key_and_other_pictures_conflict(storage: Storage) -> None:
    """One request makes the job, whole; each of the others gets a conflict."""

    async def main() -> None:
        sent = [[("a.png", b"%d" % number)] * 3 for number in range(6)]
        calls = (send(intake(storage), pictures, key="key") for pictures in sent)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        made = [answer for answer in answers if isinstance(answer, tuple)]
        assert [new for _, new in made] == [True]
        assert sum(isinstance(answer, IdempotencyConflict) for answer in answers) == 5
        won = next(place for place, answer in enumerate(answers) if isinstance(answer, tuple))
        assert [data for _, data in await taken(storage, made[0][0].id)] == [b"%d" % won] * 3

    asyncio.run(main())


def test_a_key_that_is_known_stores_nothing_again(tmp_path: Path) -> None:
    """Repeating a request compares it with the existing job, and writes no object."""
    put: list[str] = []

    async def note(path: str) -> None:
        put.append(path)

    async def main() -> None:
        storage = Watched(tmp_path, note)
        await send(intake(storage), key="key")
        before = len(put)
        assert not (await send(intake(storage), key="key"))[1]
        assert len(put) == before

    asyncio.run(main())


class Dead(BaseException):
    """The process is dead: no error handler runs."""


def test_dying_at_any_put_leaves_no_job_or_a_whole_one(tmp_path: Path) -> None:
    """Killed before its nth put, for every n, a job is absent or complete, and sending it again completes it."""
    left = 0

    async def die(path: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Dead

    async def attempt(folder: Path) -> bool:
        upload = await intake(Watched(folder, die)).begin(WISH, key="key")
        for name, data in PICTURES:
            await upload.add(name, data)
        return (await upload.commit())[1]

    async def check(folder: Path) -> bool:
        storage = open_storage(str(folder))
        records = [stored.path async for stored in storage.list("jobs") if stored.path.endswith("job.json")]
        for path in records:
            assert list(await taken(storage, path.split("/")[1])) == list(PICTURES)
        job, new = await send(intake(storage), key="key")
        assert new is not bool(records)
        assert list(await taken(storage, job.id)) == list(PICTURES)
        return bool(records)

    whole = []
    for puts in range(len(PICTURES) + 6):
        folder, left = tmp_path / str(puts), puts
        try:
            asyncio.run(attempt(folder))
        except Dead:
            whole.append(asyncio.run(check(folder)))
        else:
            break
    # An upload's mark, the pictures, two plans and the open mark come before the one put that makes the job.
    assert whole == [False] * (len(PICTURES) + 5)
    assert asyncio.run(check(folder))


def test_a_lost_answer_does_not_lose_the_job(tmp_path: Path) -> None:
    """A put of job.json that is repeated because its answer got lost finds itself, and is no other upload's."""

    class Repeating(Storage):
        async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
            await super().put(path, data, new=new)
            return await super().put(path, data, new=new)

    async def main() -> None:
        storage = Repeating(LocalStore(tmp_path))
        job, new = await send(intake(storage), key="key")
        assert new
        assert list(await taken(storage, job.id)) == list(PICTURES)

    asyncio.run(main())


def test_a_job_that_may_be_there_is_not_taken_apart(tmp_path: Path) -> None:
    """If the put of job.json succeeds but looks failed, nothing is removed, and sending it again finds the job."""

    class Failing(Storage):
        async def put(self, path: str, data: bytes, *, new: bool = False) -> bool:
            done = await super().put(path, data, new=new)
            if new:
                raise StorageError("the connection broke")
            return done

    async def main() -> None:
        with pytest.raises(StorageError):
            await send(intake(Failing(LocalStore(tmp_path))), key="key")
        storage = open_storage(str(tmp_path))
        job, new = await send(intake(storage), key="key")
        assert not new
        assert list(await taken(storage, job.id)) == list(PICTURES)

    asyncio.run(main())


def test_a_storage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """An error of any put of a picture reaches the sender, and what was put before is removed."""

    async def fail(path: str) -> None:
        if path.endswith("/00003"):
            raise StorageError("no room")

    async def main() -> None:
        storage = Watched(tmp_path, fail)
        with pytest.raises(StorageError, match="no room"):
            await send(intake(storage))
        assert await inputs(storage) == []

    asyncio.run(main())


def test_an_aborted_upload_leaves_nothing(storage: Storage) -> None:
    """Aborting removes what was put, twice as well, and after a commit it removes nothing."""

    async def main() -> None:
        upload = await intake(storage).begin(WISH)
        for name, data in PICTURES:
            await upload.add(name, data)
        await upload.abort()
        await upload.abort()
        assert await inputs(storage) == []
        job, _ = await send(intake(storage))  # which aborts after it has committed
        assert list(await taken(storage, job.id)) == list(PICTURES)

    asyncio.run(main())


@pytest.mark.parametrize("at", ["open/", "job.json"])
def test_hanging_up_during_the_commit_makes_the_job_all_the_same(tmp_path: Path, at: str) -> None:
    """A sender that goes away once everything is there does not leave half a job, and aborting then waits for it."""

    async def main() -> None:
        arrived, opened = asyncio.Event(), asyncio.Event()

        async def wait(path: str) -> None:
            if at in path:
                arrived.set()
                await opened.wait()

        storage = Watched(tmp_path, wait)
        call = asyncio.create_task(send(intake(storage), key="key"))
        await arrived.wait()
        call.cancel()
        asyncio.get_running_loop().call_soon(opened.set)
        with pytest.raises(asyncio.CancelledError):
            await call
        job, new = await send(intake(open_storage(str(tmp_path))), key="key")
        assert not new
        assert list(await taken(storage, job.id)) == list(PICTURES)

    asyncio.run(main())


def test_more_than_a_job_may_have_is_refused(storage: Storage) -> None:
    """One picture and one byte more than allowed are too much; exactly as many are not, and nothing stays behind."""

    async def main() -> None:
        three = [("a.png", b"12345")] * 3
        assert (await send(intake(storage, pictures=3, bytes=15), three))[1]
        before = await inputs(storage)
        with pytest.raises(TooLarge, match="at most 2 pictures"):
            await send(intake(storage, pictures=2), three)
        with pytest.raises(TooLarge, match="at most 14 bytes"):
            await send(intake(storage, bytes=14), three)
        assert await inputs(storage) == before

    asyncio.run(main())


def test_a_job_without_pictures_is_refused(storage: Storage) -> None:
    """A request without pictures makes no job."""

    async def main() -> None:
        with pytest.raises(InvalidParameter, match="no picture"):
            await send(intake(storage), [])
        assert not [stored async for stored in storage.list("")]

    asyncio.run(main())


async def unpack(upload: Upload, members: Sequence[Member]) -> tuple[Job, bool]:
    """Sends a ZIP as the service does."""
    try:
        await upload.add_archive(BytesIO(written(members)))
        return await upload.commit()
    finally:
        await upload.abort()


def test_an_archive_is_taken_picture_by_picture(storage: Storage) -> None:
    """Names keep their folders, clutter is left out, and a picture that is too long is cut just beyond the limit."""
    members = [
        Member(b"a/1.png", b"1"),
        Member(b"a/"),
        Member(b"a\\1.jpg", b"2", DEFLATED),
        Member(b"b.png", bytes(200)),
    ]

    async def main() -> None:
        job, new = await unpack(await intake(storage).begin(WISH), members)
        assert new
        assert await taken(storage, job.id) == [("a/1.png", b"1"), ("a/1-2.jpg", b"2"), ("b.png", bytes(101))]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ([Member(b"%d.png" % number, b"x") for number in range(11)], TooLarge),
        ([Member(b"a.png", b"123456", DEFLATED), Member(b"b.png", b"x" * 95)], TooLarge),
        ([Member(b"%d.png" % number, b"x") for number in range(5)] + [Member(b"z.png", b"x", crc=1)], UnreadableImage),
        ([Member(b"a.png", b"x"), Member(b"../b.png", b"x")], InvalidParameter),
    ],
)
def test_a_refused_archive_leaves_nothing(storage: Storage, members: list[Member], error: type[Exception]) -> None:
    """Limits count what is really unpacked, and an error in any part refuses the whole."""

    async def main() -> None:
        with pytest.raises(error):
            await unpack(await intake(storage, pictures=10, bytes=100).begin(WISH), members)
        assert await inputs(storage) == []

    asyncio.run(main())


def test_a_source_is_listed_and_nothing_copied(tmp_path: Path, storage: Storage) -> None:
    """The job's pictures point into the root, sorted, named relative to the folder; the same key is the same job."""
    for name in ("2024/b/2.png", "2024/1.jpg", "2024/b/2.jpg", "2023/0.jpg", "2024/notes.txt"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"x")

    async def begin() -> tuple[Job, bool]:
        roots = Roots({"photos": str(tmp_path / "photos"), "out": str(tmp_path / "out")})
        upload = await intake(storage, roots).begin(WISH, key="k", source="photos/2024", destination="out/2024")
        await upload.add_source()
        return await upload.commit()

    async def main() -> None:
        job, new = await begin()
        assert new
        assert (job.source, job.destination, job.pictures) == ("photos/2024", "out/2024", 3)
        assert await entries(storage, job) == [
            ("1.jpg", "2024/1.jpg"),
            ("b/2.jpg", "2024/b/2.jpg"),
            ("b/2-2.png", "2024/b/2.png"),
        ]
        assert await inputs(storage) == [layout.chunk(job.id, job.upload, 0)]
        assert await begin() == (job, False)

    asyncio.run(main())


def test_sources_that_can_not_be_are_refused(tmp_path: Path, storage: Storage) -> None:
    """Unknown roots, paths out of one, a destination in the source, and sources with no or too many pictures fail."""
    for number in range(3):
        path = tmp_path / f"photos/{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    roots = Roots({"photos": str(tmp_path / "photos")})

    async def main() -> None:
        entrance = intake(storage, roots, pictures=2)
        for source, destination in [("attic", None), ("photos/..", None), (None, "attic"), ("photos/a", "photos/a/b")]:
            with pytest.raises(InvalidParameter):
                await entrance.begin(WISH, source=source, destination=destination)
        assert [stored async for stored in storage.list("")] == []
        upload = await entrance.begin(WISH, source="photos/none")
        with pytest.raises(InvalidParameter, match="no pictures in 'photos/none'"):
            await upload.add_source()
        upload = await entrance.begin(WISH, source="photos")
        with pytest.raises(TooLarge, match="at most 2 pictures"):
            await upload.add_source()

    asyncio.run(main())


def test_the_fingerprint_is_of_the_request_alone(storage: Storage, tmp_path: Path) -> None:
    """SHA-256 over what was asked and each name and SHA-256 of its bytes: the same in any storage, at any time."""

    async def main() -> None:
        first, _ = await send(intake(storage), [("a.png", b"x")])
        second, _ = await send(intake(open_storage(str(tmp_path / "other"))), [("a.png", b"x")])
        asked = {"wish": {"domains": ["blond"], "model": "faces@1"}}
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
        digest.update(json.dumps(["a.png", hashlib.sha256(b"x").hexdigest()]).encode())
        assert first.id != second.id
        assert first.fingerprint == second.fingerprint == digest.hexdigest()

    asyncio.run(main())
