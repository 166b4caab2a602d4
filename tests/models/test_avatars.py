"""The avatars: the same everywhere, local in their attributes, and laid out as CelebA is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.drawn.avatars import (
    COLUMNS,
    DOMAINS,
    HAIR,
    Attributes,
    DataSet,
    Person,
    describe,
    draw,
    face_mask,
    head_mask,
    person,
    write,
)
from models.drawn.person import CLOTHES, HAIRSTYLES

PLAIN = Attributes("brown", expression="neutral", glasses=False, beard=False, hat=False, age="young", gender="female")
COUNT = 20


def plain(index: int) -> Person:
    """A person of seed 1 without smile, glasses, beard or hat."""
    return person(1, index).changed(PLAIN)


def changed_pixels(one: Person, domain: str, size: int = 64) -> NDArray[np.bool_]:
    """Where the picture differs when the domain is switched on."""
    other = one.changed(one.attributes.with_domain(domain))
    differs: NDArray[np.bool_] = (draw(one, size) != draw(other, size)).any(axis=2)
    return differs


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of COUNT pictures of 16 pixels, seed 3."""
    out = tmp_path_factory.mktemp("data") / "avatars"
    write(out, COUNT, 16, 3, lambda finished, total: None)
    return out


@pytest.mark.parametrize(
    ("index", "digest"),
    [
        (0, "6bc8eb43962b134b"),
        (1, "cff6cbbc7cbb2cb1"),
        (7, "c3d2b6f48d3856d4"),
        (12, "0886765145dee103"),
    ],
)
def test_pixels_are_the_known_ones(index: int, digest: str) -> None:
    """A person's picture has the bytes that it had when the first model was trained."""
    assert hashlib.sha256(draw(person(1, index), 64).tobytes()).hexdigest()[:16] == digest


def test_seeds_and_indices_give_other_people() -> None:
    """Another seed or another index shows somebody else."""
    assert person(1, 0) == person(1, 0)
    assert len({person(1, 0), person(1, 1), person(2, 0)}) == 3


def test_no_style_or_cloth_fails_at_any_size() -> None:
    """Every hairstyle with every clothing draws at the smallest size, and two sizes show the same person."""
    for hairstyle in HAIRSTYLES:
        for clothes in CLOTHES:
            assert draw(replace(person(1, 5), hairstyle=hairstyle, clothes=clothes), 16).shape == (16, 16, 3)
    halved = draw(person(1, 5), 128).reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - draw(person(1, 5), 64)).mean() < 4.0


@pytest.mark.parametrize("size", [0, 15, 1025])
def test_sizes_outside_the_limits_are_refused(size: int) -> None:
    """The error names the size and the limits."""
    with pytest.raises(ValueError, match=f"{size}.*16 to 1024"):
        draw(person(1, 0), size)


@pytest.mark.parametrize("domain", [name for name in COLUMNS if name not in ("brown", "young", "female")])
def test_every_attribute_shows_and_stays_in_the_head(domain: str) -> None:
    """A switched attribute changes a good many pixels, all in the face mask but for those of the neck below it."""
    for index in range(5):
        one = plain(index)
        differs, mask = changed_pixels(one, domain), head_mask(one, 64)
        assert differs[mask].sum() >= 60
        if domain in ("male", "old", "beard"):  # an aged skin and the jaw's shade reach the neck
            mask[44:, 16:48] = True
        assert not (differs & ~mask).any()


def test_a_smile_leaves_the_top_third_alone() -> None:
    """A smile changes the lower face, and no pixel above the eyes."""
    for index in range(5):
        differs = changed_pixels(plain(index), "smiling")
        assert not differs[: 64 // 3].any()
        assert differs[32:].any()


def test_a_beard_leaves_brows_and_hair_alone() -> None:
    """A beard changes nothing in the upper two fifths."""
    for index in range(5):
        assert not changed_pixels(plain(index), "beard")[:25].any()


def test_a_hat_leaves_the_lower_half_alone() -> None:
    """What is below the hat's rim stays, also under much hair."""
    for hairstyle in HAIRSTYLES:
        assert not changed_pixels(replace(plain(2), hairstyle=hairstyle), "hat")[32:].any()


def test_no_attribute_touches_the_background() -> None:
    """The corners are the same whatever all the attributes are."""
    for index in range(5):
        one = plain(index)
        other = one.changed(Attributes("black", "happy", True, True, True, "old", "male"))
        first, last = draw(one, 64), draw(other, 64)
        assert (first[:8, :8] == last[:8, :8]).all()
        assert (first[:8, -8:] == last[:8, -8:]).all()
        assert (first[-4:, :8] == last[-4:, :8]).all()
        assert (first[-4:, -8:] == last[-4:, -8:]).all()


def test_the_mask_is_one_for_all_attributes() -> None:
    """The head's mask covers the face, leaves the background out, and does not depend on attributes."""
    one = plain(3)
    mask = head_mask(one, 64)
    other = one.changed(Attributes("grey", "happy", True, True, True, "old", "male"))
    assert (mask == head_mask(other, 64)).all()
    assert mask[32, 32]
    assert not mask[:4].any()
    assert not mask[:, :4].any()
    assert 0.15 < mask.mean() < 0.6


def test_the_face_is_the_head_without_hair_and_hat() -> None:
    """The face's mask lies in the head's, is one for all attributes, and a change of hair or hat leaves it alone."""
    for index in range(5):
        one = plain(index)
        face = face_mask(one, 64)
        other = one.changed(Attributes("grey", "happy", True, True, True, "old", "male"))
        assert (face == face_mask(other, 64)).all()
        assert not (face & ~head_mask(one, 64)).any()
        assert 0.05 < face.mean() < 0.3
        for domain in ("smiling", "glasses", "beard"):
            assert changed_pixels(one, domain)[face].sum() >= 40
        for domain in ("hat", "blond"):
            assert changed_pixels(one, domain)[face].mean() < 0.3


@pytest.mark.parametrize("domain", COLUMNS)
def test_domains_switch_on_and_off(domain: str) -> None:
    """A domain switched on has its column at 1 and its group's others at 0; switched off it is 0, hair excepted."""
    column = COLUMNS.index(domain)
    labels = PLAIN.with_domain(domain).labels()
    assert labels[column] == 1
    assert sum(labels[:4]) == sum(labels[8:10]) == sum(labels[10:]) == 1
    if domain in HAIR:
        with pytest.raises(ValueError, match=domain):
            PLAIN.with_domain(domain, False)
    else:
        off = PLAIN.with_domain(domain, False)
        assert off.labels()[column] == 0
        assert off.with_domain(domain).labels() == labels


def test_unknown_domains_are_refused() -> None:
    """The error names the unknown domain and the known ones."""
    with pytest.raises(ValueError, match=r"'zebra'.*blond"):
        PLAIN.with_domain("zebra")


def test_attributes_take_both_values_and_are_independent() -> None:
    """Each column occurs about as often as meant, and no two attributes go together."""
    labels = np.array([person(1, index).attributes.labels() for index in range(3000)])
    meant = [0.25] * 4 + [0.5, 0.4, 0.4, 0.35] + [0.5] * 4
    assert np.abs(labels.mean(axis=0) - meant).max() < 0.04
    among = np.corrcoef(labels[:, [0, 4, 5, 6, 7, 8, 10]].T) - np.eye(7)
    assert np.abs(among).max() < 0.08


def test_the_set_is_laid_out_as_celeba(written: Path) -> None:
    """Pictures from 000001.png, a table of 1 and -1 with its count and names, and the partition."""
    assert sorted(file.name for file in (written / "images").iterdir()) == [f"{i:06d}.png" for i in range(1, COUNT + 1)]
    count, names, *rows = (written / "list_attr_avatars.txt").read_text().splitlines()
    assert int(count) == COUNT == len(rows)
    assert tuple(names.split()) == COLUMNS
    for index, row in enumerate(rows):
        name, *signs = row.split()
        assert name == f"{index + 1:06d}.png"
        assert [int(sign) for sign in signs] == [2 * label - 1 for label in person(3, index).attributes.labels()]
    parts = [line.split() for line in (written / "list_eval_partition.txt").read_text().splitlines()]
    assert [int(part) for _, part in parts] == [0] * 16 + [1] * 2 + [2] * 2
    assert (written / "domains.txt").read_text() == DOMAINS + "\n"
    assert "Apache-2.0" in (written / "README.md").read_text()


def test_the_written_pictures_can_be_drawn_again(written: Path) -> None:
    """What avatars.json says gives the very pixels of the files."""
    made = describe(written)
    assert made == DataSet(seed=3, size=16, count=COUNT)
    for index in range(COUNT):
        with Image.open(written / "images" / f"{index + 1:06d}.png") as stored:
            assert (np.asarray(stored) == draw(person(made.seed, index), made.size)).all()


def test_other_folders_are_not_described(tmp_path: Path) -> None:
    """A folder without avatars.json, or of another generator, is None."""
    assert describe(tmp_path) is None
    (tmp_path / "avatars.json").write_text(json.dumps({"generator": "emoji", "version": 1}))
    assert describe(tmp_path) is None


def test_a_full_folder_is_kept(tmp_path: Path) -> None:
    """Writing into a folder that is not empty is refused, and nothing in it changes."""
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write(tmp_path, 1, 16, 1, lambda finished, total: None)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_progress_is_told_and_an_empty_folder_is_filled(tmp_path: Path) -> None:
    """The callback counts up to the number of pictures, and an empty folder may be the place."""
    told: list[tuple[int, int]] = []
    write(tmp_path / "out", 3, 16, 1, lambda finished, total: told.append((finished, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    """When the callback raises, neither the folder nor its staging remains."""

    def fail(finished: int, total: int) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write(tmp_path / "out", 2, 16, 1, fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("count", "size", "named"), [(0, 16, "count is 0"), (1, 8, "size is 8")])
def test_impossible_sets_are_refused(tmp_path: Path, count: int, size: int, named: str) -> None:
    """The error names the value, and nothing is written."""
    with pytest.raises(ValueError, match=named):
        write(tmp_path / "out", count, size, 1, lambda finished, total: None)
    assert not list(tmp_path.iterdir())
