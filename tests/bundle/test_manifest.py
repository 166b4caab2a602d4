"""What a manifest may say, and the published schema."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.bundle.manifest import Manifest, canonical, schema

PUBLISHED = Path(__file__).parents[2] / "docs" / "bundle.schema.json"


def attributes() -> dict[str, Any]:
    """A manifest of an attribute bundle, as plain data to bend."""
    return {
        "name": "faces",
        "version": "1.0",
        "family": "stargan",
        "domains": [
            {"name": "black", "group": "hair", "column": 0},
            {"name": "blond", "group": "hair", "column": 1, "aliases": ["blonde", "Blond_Hair"]},
            {"name": "smiling", "column": 2},
        ],
        "graphs": {"generator": {"file": "g.onnx", "labels": True}, "classifier": {"file": "c.onnx"}},
        "picture": {"size": 128, "multiple": 4},
        "classifier": "classifier",
        "label_order": ["black", "blond", "smiling"],
        "licence": "CC0-1.0",
        "files": {"g.onnx": "0" * 64, "c.onnx": "1" * 64},
    }


def bent(path: str, value: object) -> dict[str, Any]:
    """The manifest with the value at a dotted path replaced."""
    data = attributes()
    *parents, last = path.split(".")
    inner: Any = data
    for key in parents:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    inner[int(last) if isinstance(inner, list) else last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("schema_version", 2, "schema_version"),
        ("surprise", 1, "surprise"),
        ("name", "Faces", "name"),
        ("name", "../faces", "name"),
        ("version", "1@2", "version"),
        ("domains", [], "at least one domain"),
        ("domains.0.name", "Black", "name"),
        ("domains.0.name", "bl--ack", "name"),
        ("domains.2.aliases", ["BLONDE"], "'blonde' is given twice"),
        ("domains.2.aliases", ["a,b"], "alias"),
        ("domains.2.aliases", ["*"], "alias"),
        ("domains.2.aliases", ["_"], "alias"),
        ("domains.2.graph", "nowhere", "graph 'nowhere'"),
        ("domains.2.column", 3, "label_order"),
        ("domains.2.column", None, "needs a column"),
        ("domains.2.column", 1, "label_order"),
        ("label_order", ["black", "blond"], "label_order"),
        ("label_order", ["blond", "black", "smiling"], "label_order"),
        ("domains.0.group", "skin", "at least 2"),
        ("domains.2.mask", "celeba", "mask"),
        ("mask_columns", ["celeba"], "mask"),
        ("classifier", "nowhere", "'nowhere'"),
        ("classifier", "generator", "pixels alone"),
        ("picture.size", 0, "size"),
        ("picture.size", 130, "not a multiple of 4"),
        ("picture.multiple", 0, "multiple"),
        ("picture.range", [1, -1], "rise"),
        ("picture.range", [float("nan"), 1], "range"),
        ("metrics", {"fid": float("inf")}, "fid"),
        ("samples", [{"file": "sample.png"}], "under samples/"),
        ("files", {"g.onnx": "XYZ"}, "files"),
        ("files", {"g.onnx": "0" * 64, "G.ONNX": "0" * 64}, "'g.onnx' is given twice"),
        ("files", {"a": "0" * 64, "A/b": "0" * 64}, "used as a folder"),
    ],
)
def test_a_manifest_that_does_not_fit_together_is_refused(path: str, value: object, complaint: str) -> None:
    """Each broken rule is refused, and the complaint names what is wrong."""
    with pytest.raises(ValidationError, match=complaint):
        Manifest.model_validate(bent(path, value))


@pytest.mark.parametrize(
    "file",
    [
        *["", "/etc/passwd", "../g.onnx", "a/../b", "a//b", "a/", "./a", ".hidden", "a\\b", "C:a", "a\0b", "a\nb"],
        *["x" * 201, "bundle.json", "Bundle.JSON"],
    ],
)
def test_unsafe_paths_are_refused(file: str) -> None:
    """No file may be absolute, climb, hide, hold a drive, backslash or control character, or be the manifest itself."""
    with pytest.raises(ValidationError):
        Manifest.model_validate(bent("files", {file: "0" * 64}))


def test_a_fitting_manifest_survives_json() -> None:
    """Written as JSON and read again, a manifest is equal to itself."""
    manifest = Manifest.model_validate(attributes())
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_names_and_groups_are_found() -> None:
    """Domains are found by name and alias in any spelling, groups hold their members in order."""
    manifest = Manifest.model_validate(attributes())
    blond = manifest.domains[1]
    assert [manifest.find(name) for name in ("blond", "BLONDE", "blond hair", "-Blond--Hair_")] == [blond] * 4
    assert manifest.find("red") is None
    assert {name: [domain.name for domain in members] for name, members in manifest.groups.items()} == {
        "hair": ["black", "blond"]
    }
    assert manifest.ref == "faces@1.0"


def test_a_label_order_names_each_domain_once() -> None:
    """A domain that stands twice in the label order is refused, although each domain's column names it."""
    data = attributes() | {"label_order": ["blond", "black", "blond", "smiling"]}
    for domain, column in zip(data["domains"], (1, 2, 3), strict=True):
        domain["column"] = column
    with pytest.raises(ValidationError, match="names a domain twice"):
        Manifest.model_validate(data)


def test_a_group_is_made_of_labels_or_of_graphs() -> None:
    """A group whose members are partly columns and partly fixed targets is refused: it could not be kept exclusive."""
    data = attributes()
    data["graphs"]["zebra"] = {"file": "z.onnx"}
    data["domains"].append({"name": "zebra", "group": "hair", "graph": "zebra"})
    with pytest.raises(ValidationError, match="columns or none"):
        Manifest.model_validate(data)


def test_mask_columns_need_a_mask_for_every_column() -> None:
    """With joint training, each domain says which data set's mask it needs, the same within a group."""
    data = attributes() | {"mask_columns": ["celeba", "rafd"]}
    for domain, mask in zip(data["domains"], ("celeba", "celeba", "rafd"), strict=True):
        domain["mask"] = mask
    assert Manifest.model_validate(data).mask_columns == ("celeba", "rafd")
    data["domains"][0]["mask"] = "rafd"
    with pytest.raises(ValidationError, match="share their mask"):
        Manifest.model_validate(data)


@given(st.text())
def test_canonical_is_idempotent(name: str) -> None:
    """What is canonical stays as it is."""
    assert canonical(canonical(name)) == canonical(name)


@given(
    st.lists(st.from_regex(r"[a-z0-9]+", fullmatch=True), min_size=1, max_size=4),
    st.sampled_from(["-", "_", " ", "__", " - "]),
    st.sampled_from([str.upper, str.lower, str.title]),
)
def test_any_case_and_separator_is_one_name(words: list[str], separator: str, case: Callable[[str], str]) -> None:
    """However a name is written, its canonical form is its words in lower case with single dashes."""
    assert canonical(case(separator.join(words))) == "-".join(words)


def test_the_published_schema_is_the_models_own() -> None:
    """docs/bundle.schema.json is what schema() gives; write it anew after a change of the manifest."""
    assert json.loads(PUBLISHED.read_text()) == schema()
