"""The labelled reader takes CelebA's layout and reports what does not fit in one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.data import COLUMNS, DOMAINS, labelled_folder

from models.bundle.manifest import Picture
from models.data.labelled import Labelled, read
from models.data.parts import Part
from models.data.tables import UNKNOWN, parse_domains, repeat_rows
from models.errors import DataError

U = UNKNOWN
PARTS: tuple[Part, ...] = ("train", "test")
PICTURE = Picture(size=16, multiple=4, crop="centre", resize="bilinear")


def read_part(folder: Path, domains: str = "", part: str = "train") -> Labelled:
    return read(folder, domains, PICTURE, part, flip=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("count_line", [True, False])
def test_attribute_file_is_read_with_and_without_its_count_line(tmp_path: Path, count_line: bool) -> None:
    """CelebA's official file begins with a count, many copies do not; both give the same labels."""
    data = read_part(labelled_folder(tmp_path / "set", count_line=count_line))
    assert [d.name for d in data.description.domains] == list(COLUMNS)
    assert data.labels[:2].tolist() == [[1, 0, 0], [0, 1, 1]]


def test_a_value_of_0_is_unknown(tmp_path: Path) -> None:
    """Unknown labels are counted apart, and do not make a domain constant."""
    data = read_part(labelled_folder(tmp_path / "set", unknown=True))
    assert data.labels[[4, 6]].tolist() == [[UNKNOWN, UNKNOWN, 0], [1, 0, UNKNOWN]]
    assert data.description.counts == {"red": 14, "green": 15, "bright": 15}
    assert data.description.unknown == {"red": 7, "green": 7, "bright": 5}


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ([1, U, -1], [1, 0, 0]),
        ([-1, U, -1], [U, U, U]),
        ([U, U, U], [U, U, U]),
        ([-1, -1, -1], [0, 0, 0]),
    ],
)
def test_a_group_is_known_as_a_whole_or_not_at_all(tmp_path: Path, given: list[float], taken: list[float]) -> None:
    """A known member makes the others absent; without one, a gap makes all unknown."""
    folder = labelled_folder(tmp_path / "set")
    attributes = folder / "list_attr_toy.txt"
    words = " ".join("0" if value == U else str(value) for value in given)
    attributes.write_text(attributes.read_text().replace("000001.png 1 -1 -1", f"000001.png {words}"))
    assert read_part(folder, "any=red|green|bright").labels[0].tolist() == taken


def test_the_attribute_file_may_be_called_list_attr(tmp_path: Path) -> None:
    """A name without the set's name is found as well."""
    folder = labelled_folder(tmp_path / "set")
    (folder / "list_attr_toy.txt").rename(folder / "list_attr.txt")
    assert len(read_part(folder)) == 36


def test_partition_file_separates_training_and_test(tmp_path: Path) -> None:
    """The published partition decides which pictures are held out."""
    folder = labelled_folder(tmp_path / "set")
    assert (len(read_part(folder)), len(read_part(folder, part="test"))) == (36, 4)


def test_without_a_partition_a_tenth_is_held_out_and_nothing_is_in_both(tmp_path: Path) -> None:
    """Without a partition, the official code's shuffle holds pictures out."""
    folder = labelled_folder(tmp_path / "set")
    (folder / "list_eval_partition.txt").unlink()
    train, test = read_part(folder), read_part(folder, part="test")
    assert len(test) == 4
    assert len({*train.pictures.paths, *test.pictures.paths}) == 40


def test_pictures_may_lie_in_img_align_celeba(tmp_path: Path) -> None:
    """The folder's name in the official archive is found as well."""
    folder = labelled_folder(tmp_path / "set")
    (folder / "images").rename(folder / "img_align_celeba")
    assert read_part(folder).pictures.paths[0].parent.name == "img_align_celeba"


def test_chosen_columns_make_the_label_order(tmp_path: Path) -> None:
    """`domains` picks columns and their order, whatever the file's."""
    data = read_part(labelled_folder(tmp_path / "set"), "bright,Red")
    assert [d.name for d in data.description.domains] == ["bright", "red"]
    assert data.labels[1].tolist() == [1, 0]


def test_domain_expression_gives_groups() -> None:
    """`|` separates domains that exclude each other; a comma separates independent ones."""
    domains = parse_domains("hair=Black_Hair|Blond_Hair,Smiling")
    assert [(d.name, d.group, d.column) for d in domains] == [
        ("black-hair", "hair", 0),
        ("blond-hair", "hair", 1),
        ("smiling", None, 2),
    ]


def test_own_domains_file_is_the_default(tmp_path: Path) -> None:
    """A set's domains.txt gives its groups."""
    data = read_part(labelled_folder(tmp_path / "set"))
    assert data.description.domains == parse_domains(DOMAINS)


def test_pictures_are_cropped_to_the_centre_square(tmp_path: Path) -> None:
    """A wide picture loses its sides, not its proportions."""
    folder = labelled_folder(tmp_path / "set")
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 200
    Image.fromarray(wide).save(folder / "images" / "000001.png")
    assert (read_part(folder).pictures[0] == 200).all()


def test_flips_are_drawn_from_the_generator_given(tmp_path: Path) -> None:
    """The same generator gives the same flip, and both ways occur."""
    data = read(labelled_folder(tmp_path / "set"), "", PICTURE, "train", flip=True)
    shown = [data.example(0, np.random.default_rng(seed))["pixels"] for seed in range(8)]
    again = [data.example(0, np.random.default_rng(seed))["pixels"] for seed in range(8)]
    assert all((one == other).all() for one, other in zip(shown, again, strict=True))
    assert len({picture.tobytes() for picture in shown}) == 2


def test_rare_labels_are_drawn_oftener() -> None:
    """A label of 5 in 100 rows with a share of a fifth comes four times as often, and so does a rare absence."""
    labels = np.zeros((100, 2), np.float32)
    labels[:5, 0] = 1
    labels[:, 1] = 1
    labels[50:54, 1] = 0
    counts = np.bincount(repeat_rows(labels, 0.2))
    assert counts[:5].tolist() == [4] * 5
    assert counts[50:54].tolist() == [5] * 4
    assert (np.delete(counts, [*range(5), *range(50, 54)]) == 1).all()


def test_fractional_repeats_are_met_on_average() -> None:
    """A third with a share of a half comes one and a half times as often, with the same rows every time."""
    labels = (np.arange(900) % 3 == 0).astype(np.float32)[:, None]
    rows = repeat_rows(labels, 0.5)
    assert rows == repeat_rows(labels, 0.5)
    assert 430 < sum(row % 3 == 0 for row in rows) < 470


def test_unknown_labels_repeat_nothing() -> None:
    """An unknown label does not repeat a picture."""
    assert repeat_rows(np.full((4, 2), UNKNOWN, np.float32), 0.5) == [0, 1, 2, 3]


def test_held_out_pictures_come_once(tmp_path: Path) -> None:
    """Balance applies to training only."""
    folder = labelled_folder(tmp_path / "set", unknown=True)
    training, held_out = (read(folder, "", PICTURE, part, False, 0.5) for part in PARTS)
    assert len(training) > len(training.pictures)
    assert list(held_out.order) == list(range(len(held_out.pictures)))


def spoil(folder: Path, how: str) -> None:
    attributes = folder / "list_attr_toy.txt"
    if how == "no attribute file":
        attributes.unlink()
    elif how == "empty":
        attributes.write_text("0\nred green bright\n")
    elif how == "short line":
        attributes.write_text(attributes.read_text() + "000041.png 1\n")
    elif how == "missing picture":
        (folder / "images" / "000005.png").unlink()
    elif how == "constant":
        rows = attributes.read_text().replace(" -1\n", " 1\n")
        attributes.write_text(rows)
    elif how == "all known ones alike":
        attributes.write_text(attributes.read_text().replace(" -1\n", " 0\n"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no attribute file", "has no attribute file"),
        ("empty", "lists no pictures"),
        ("short line", "line 43: expected a file name and 3 values"),
        ("missing picture", "1 picture listed but not in .*000005.png"),
        ("constant", "the same in every training picture.*bright"),
        ("all known ones alike", "the same in every training picture.*bright"),
    ],
)
def test_a_broken_set_is_refused_with_the_reason(tmp_path: Path, how: str, message: str) -> None:
    """The error names the file, line or name, and comes before training."""
    folder = labelled_folder(tmp_path / "set")
    spoil(folder, how)
    with pytest.raises(DataError, match=message):
        read_part(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The error names the missing folder."""
    with pytest.raises(DataError, match=r"there is no data folder .*nowhere"):
        read_part(tmp_path / "nowhere")


def test_an_unknown_attribute_is_named_with_the_known_ones(tmp_path: Path) -> None:
    """A domain without a column is refused, and the columns are listed."""
    with pytest.raises(DataError, match="no attribute column blue; the data have red, green, bright"):
        read_part(labelled_folder(tmp_path / "set"), "blue")


def test_a_corrupt_picture_is_named(tmp_path: Path) -> None:
    """The error of an unreadable picture has its path."""
    folder = labelled_folder(tmp_path / "set")
    (folder / "images" / "000001.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"000001\.png is not a readable picture"):
        read_part(folder).pictures[0]


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """Bad lines, doubled and missing files, a bad partition and broken pictures come in one error."""
    folder = labelled_folder(tmp_path / "set")
    attributes, partition = folder / "list_attr_toy.txt", folder / "list_eval_partition.txt"
    attributes.write_text(attributes.read_text() + "000001.png 1 1 1\n000050.png 1\n000051.png 1 yes 1\n")
    partition.write_text(partition.read_text() + "000052.png 0\n000053.png 7\n")
    (folder / "images" / "000002.png").unlink()
    (folder / "images" / "000003.png").write_bytes(b"")
    with pytest.raises(DataError) as raised:
        read_part(folder)
    assert [problem.split("/")[-1] for problem in raised.value.problems] == [
        "list_attr_toy.txt, line 43: 000001.png is listed twice",
        "list_attr_toy.txt, line 44: expected a file name and 3 values of 1, -1 or 0",
        "list_attr_toy.txt, line 45: expected a file name and 3 values of 1, -1 or 0",
        "list_eval_partition.txt, line 42: expected a file name and 0, 1 or 2",
        "1 picture of list_eval_partition.txt without attributes: 000052.png",
        "images: 000002.png",
        "000003.png is not a readable picture: it is empty; replace it",
    ]


def test_the_first_ten_problems_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    """A long list of problems is cut after ten."""
    folder = labelled_folder(tmp_path / "set")
    attributes = folder / "list_attr_toy.txt"
    attributes.write_text(attributes.read_text() + "x 1\n" * 30)
    with pytest.raises(DataError, match=r"^30 problems: .*line 43: .*line 52: [^;]*; and 20 more$"):
        read_part(folder)


def test_a_set_that_lies_one_folder_deeper_is_pointed_to(tmp_path: Path) -> None:
    """The error for an outer folder names the set inside it."""
    labelled_folder(tmp_path / "set")
    with pytest.raises(DataError, match=r"has no attribute file .*; there is a set in .*/set$"):
        read_part(tmp_path)
