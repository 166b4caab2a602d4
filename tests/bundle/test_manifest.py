"""What a manifest may say, and the published schema."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.bundle.manifest import Graph, Manifest, Picture, canonical, schema
from models.bundle.ports import PIXELS, TRANSLATED, Input, Output

PUBLISHED = Path(__file__).parents[2] / "docs" / "bundle.schema.json"
VERSION_1 = Path(__file__).with_name("version1.json")
"""A manifest as version 1 of the format had it: joint training, free sides, a classifier."""


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
        "graphs": {
            "generator": {"file": "g.onnx", "inputs": [{"kind": "pixels"}, {"kind": "labels", "shape": [3]}]},
            "classifier": {"file": "c.onnx", "outputs": [{"kind": "logits", "shape": [3]}]},
        },
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
        ("schema_version", 3, "schema_version"),
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
        ("graphs.classifier.outputs", [{"kind": "score"}], r"must give logits of shape \[3\]"),
        ("graphs.classifier.outputs", [{"kind": "logits", "shape": [2]}], r"must give logits of shape \[3\]"),
        ("graphs.classifier.outputs", [{"kind": "logits"}], "logits needs a shape"),
        ("graphs.generator.labels", True, "labels"),
        ("graphs.generator.inputs", [], "at least one input"),
        ("graphs.generator.inputs", [{"kind": "pixels"}, {"kind": "pixels"}], "input 'pixels' is given twice"),
        ("graphs.generator.inputs.1.shape", [4], "label_order and mask_columns"),
        ("graphs.generator.inputs.1.shape", [3, 1], "needs 1 axes"),
        ("graphs.generator.inputs.0.shape", [1, 8, 8], r"pixels has shape \[1, 8, 8\], .* the first of 3"),
        ("graphs.generator.inputs.1", {"kind": "noise", "shape": [3]}, "kind"),
        ("graphs.generator.outputs", [{"kind": "pictures"}], "must take pixels and give translated"),
        ("graphs.generator.outputs", [{"kind": "translated", "shape": [3, 8]}], "needs 3 axes"),
        ("task", "generate", "needs a graph that gives pictures"),
        ("task", "score", "needs a graph that takes pixels and gives a score"),
        ("task", "detect", "has the graphs detector and mesh"),
        ("picture.eyes", [[0.6, 0.5], [0.4, 0.5]], "must be the left one of the picture"),
        ("picture.eyes", [[0.4, 0.5], [1.1, 0.5]], "picture.eyes"),
        ("score", {"threshold": 1.0, "quantile": 1.0}, "quantile"),
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


def test_a_manifest_of_version_1_is_read_as_one_of_version_2() -> None:
    """Labels become a port of all columns and masks, the classifier keeps its size, and nothing else changes."""
    text = VERSION_1.read_text()
    manifest, before = Manifest.model_validate_json(text), json.loads(text)
    assert manifest.schema_version == 2
    assert manifest.graphs["generator"] == Graph(
        file="generator.onnx", inputs=(PIXELS, Input(kind="labels", shape=(5,))), outputs=(TRANSLATED,)
    )
    assert manifest.graphs["classifier"] == Graph(
        file="classifier.onnx",
        inputs=(Input(kind="pixels", shape=(3, 128, 128)),),
        outputs=(Output(kind="logits", shape=(3,)),),
    )
    after = manifest.model_dump(mode="json")
    assert manifest.picture == Picture.model_validate(before["picture"])
    changed = {"schema_version", "graphs", "picture", "latent", "text", "score"}
    assert {key: after[key] for key in before if key not in changed} == {
        key: value for key, value in before.items() if key not in changed
    }
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_a_file_without_a_version_is_of_version_1() -> None:
    """Version 1 did not require the field, so a file that lacks it is read in the same way."""
    data = json.loads(VERSION_1.read_text())
    read = Manifest.model_validate_json(VERSION_1.read_text())
    del data["schema_version"]
    assert Manifest.model_validate_json(json.dumps(data)) == read


@pytest.mark.parametrize("graphs", [7, {"generator": 7}, {"generator": {"labels": True}}, {"generator": {"file": 7}}])
def test_a_malformed_manifest_of_version_1_is_refused(graphs: object) -> None:
    """The conversion leaves what it does not understand to the checks, which refuse it by name."""
    with pytest.raises(ValidationError, match="graphs"):
        Manifest.model_validate_json(json.dumps(json.loads(VERSION_1.read_text()) | {"graphs": graphs}))


def test_every_task_has_its_ports() -> None:
    """Bundles that generate, score and classify fit, and their free ports follow the picture's size."""
    common = {"name": "tiny", "version": "1", "family": "gan", "licence": "CC0-1.0", "picture": {"size": 16}}
    latent = {"kind": "latent", "shape": [4]}
    generate = Manifest.model_validate(
        common
        | {
            "task": "generate",
            "graphs": {"generator": {"file": "g.onnx", "inputs": [latent], "outputs": [{"kind": "pictures"}]}},
            "latent": {"shape": [4], "distribution": "uniform"},
        }
    )
    assert [generate.picture.row(port) for port in generate.graphs["generator"].outputs] == [(3, 16, 16)]
    scoring = {"file": "s.onnx", "outputs": [{"kind": "score"}, {"kind": "map"}]}
    score = common | {"task": "score", "graphs": {"generator": scoring}, "picture": {"size": 16, "free": True}}
    with pytest.raises(ValidationError, match="the threshold and its quantile"):
        Manifest.model_validate(score)
    read = Manifest.model_validate(score | {"score": {"threshold": 0.5, "quantile": 0.95}})
    assert [read.picture.row(port) for port in read.graphs["generator"].outputs] == [(1,), (1, None, None)]
    classify = {key: value for key, value in attributes().items() if key != "graphs"} | {
        "task": "classify",
        "graphs": {"classifier": attributes()["graphs"]["classifier"]},
        "domains": [{**domain, "graph": "classifier"} for domain in attributes()["domains"]],
    }
    assert Manifest.model_validate(classify).groups.keys() == {"hair"}
    with pytest.raises(ValidationError, match="needs a classifier"):
        Manifest.model_validate(attributes() | {"task": "classify", "classifier": None})


def test_a_latent_and_a_text_need_their_sections() -> None:
    """A graph takes a latent or a text only in the shape that the manifest states."""
    data: dict[str, Any] = attributes()
    data["graphs"]["generator"]["inputs"] += [{"kind": "latent", "shape": [8]}, {"kind": "text", "shape": [20]}]
    with pytest.raises(ValidationError, match="takes latent of shape"):
        Manifest.model_validate(data | {"text": {"longest": 20}})
    with pytest.raises(ValidationError, match="takes text of shape"):
        Manifest.model_validate(data | {"latent": {"shape": [8]}, "text": {"longest": 21}})
    assert Manifest.model_validate(data | {"latent": {"shape": [8]}, "text": {"longest": 20}}).text is not None


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
    data["graphs"]["generator"]["inputs"][1]["shape"] = data["graphs"]["classifier"]["outputs"][0]["shape"] = [4]
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
    data["graphs"]["generator"]["inputs"][1]["shape"] = [5]
    for domain, mask in zip(data["domains"], ("celeba", "celeba", "rafd"), strict=True):
        domain["mask"] = mask
    assert Manifest.model_validate(data).mask_columns == ("celeba", "rafd")
    data["domains"][0]["mask"] = "rafd"
    with pytest.raises(ValidationError, match="share their mask"):
        Manifest.model_validate(data)


@given(st.text())
def test_canonical_is_idempotent(name: str) -> None:
    """A canonical name does not change."""
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
