"""An evaluation gives a perfect model perfect figures and an idle one poor ones, for every kind of model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.bundles import flip_bundle
from support.data import labelled_folder, unpaired_folder
from support.evaluations import SIDE, Array, fixed, graph, ideal, measure, painted, read, tools, toy_manifest
from support.graphs import classifier_graph, labelled_graph, model
from support.training import FOLDERS, SMALLEST, trained

from models.bundle.archive import write
from models.bundle.manifest import Manifest
from models.bundle.pixels import shrink, to_pixels, to_tensor
from models.data import labelled
from models.data.tables import parse_domains
from models.drawn import people
from models.drawn.person import COLUMNS, DOMAINS, HAIR, Attributes
from models.drawn.portrait import Portrait
from models.errors import DataError, OptionsError
from models.evaluation.evaluate import evaluate
from models.evaluation.report import write_report
from models.evaluation.subject import Subject, open_subject, open_subjects
from models.export.bundle import Facts, export


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_perfect_model_has_perfect_figures(labelled_set: Path) -> None:
    """All requests are fulfilled, all other labels kept, and own labels read correctly."""
    metrics = measure(ideal(), labelled_set).metrics
    assert metrics["judge's accuracy on real pictures, lowest domain, %"] == 100
    assert metrics["domain set on request, lowest domain, %"] == 100
    assert metrics["attributes not asked for kept, lowest domain, %"] == 100
    assert metrics["own labels read right, %"] == 100


def test_unknown_labels_are_no_errors(tmp_path: Path) -> None:
    """Unknown labels of held-out pictures leave a perfect model's figures perfect, and don't count as absent."""
    data = labelled_folder(tmp_path / "set", unknown=True)
    evaluation = measure(ideal(), data)
    assert evaluation.metrics["attributes not asked for kept, lowest domain, %"] == 100
    assert evaluation.metrics["own labels read right, %"] == 100
    assert evaluation.metrics["judge's accuracy on real pictures, lowest domain, %"] == 100
    # Of the held-out pictures 37 to 40 the last has no hue; 37 and 39 are red, 38 and 39 bright.
    assert {row.name: row.pictures for row in evaluation.tables[0].rows} == {
        "red": 1, "green": 2, "bright": 2, "-bright": 2
    }  # fmt: skip


def test_a_model_that_does_nothing_sets_nothing(labelled_set: Path) -> None:
    """The identity keeps all labels and sets none, with the highest PSNR to its input."""
    idle = replace(ideal(), graphs={"generator": graph(lambda x, c: x), "classifier": graph(read, "logits")})
    evaluation = measure(idle, labelled_set)
    assert evaluation.metrics["domain set on request, %"] == 0
    assert evaluation.metrics["attributes not asked for kept, %"] == 100
    assert evaluation.metrics["PSNR to the input when nothing is asked, dB"] == 100
    assert evaluation.notes == ()


def test_a_weak_judge_is_noted(labelled_set: Path) -> None:
    """For a judge of two steps a note names the domains on which it is not reliable."""
    (note,) = measure(ideal(), labelled_set, steps=2).notes
    assert "right on less than 98 % of real pictures" in note


def test_without_a_classifier_no_labels_are_known(labelled_set: Path) -> None:
    """As in serving, a model without a classifier gets only the labels of the request."""
    manifest = toy_manifest().model_copy(update={"classifier": None})
    told: list[Array] = []

    def paint(tensor: Array, labels: Array) -> Array:
        told.append(labels)
        return painted(tensor, labels)

    measure(Subject("blind", manifest, {"generator": graph(paint)}), labelled_set, steps=2)
    assert all(labels.sum(axis=1).max() <= 1 for labels in told)


@pytest.fixture(scope="module")
def drawn_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 avatars of 64 px, for models of 32 px."""
    folder = tmp_path_factory.mktemp("drawn") / "avatars"
    people.write("avatars", folder, 30, 2 * SIDE, 3, lambda *done: None)
    return folder


def test_counterfactuals_are_those_of_the_renderer(drawn_people: Path) -> None:
    """A model that draws the person again has 100 dB everywhere; one that does nothing has the input's figures."""
    renderer = redrawing(drawn_people)
    metrics = measure(renderer, drawn_people, 2).metrics
    assert metrics["PSNR to the exact counterfactual over the face, lowest domain, dB"] == 100
    assert metrics["PSNR to the exact counterfactual over the head, lowest domain, dB"] == 100
    assert metrics["PSNR over what should change, dB"] == 100
    assert metrics["SSIM to the exact counterfactual"] == pytest.approx(1)
    assert metrics["own labels read right, %"] == 100
    idle = replace(renderer, graphs={**renderer.graphs, "generator": graph(lambda x, c: x)})
    evaluation = measure(idle, drawn_people, 2)
    untouched = evaluation.metrics["PSNR of the untouched input over the head, dB"]
    assert evaluation.metrics["PSNR to the exact counterfactual over the head, dB"] == untouched < 40
    assert evaluation.metrics["PSNR over what should stay, dB"] == 100
    assert evaluation.metrics["PSNR over what should change, dB"] < untouched
    assert evaluation.sheets[-1].title == "The worst"


def redrawing(folder: Path) -> Subject:
    """A model that draws the people of a set again, at the size of its files, with the attributes of the labels."""
    made = people.read(folder)
    assert made is not None
    domains = parse_domains(DOMAINS)
    order = tuple(domain.name for domain in domains)
    graphs = {"generator": labelled_graph("g.onnx", len(order)), "classifier": classifier_graph("c.onnx", len(order))}
    manifest = Manifest.model_validate(
        {**toy_manifest().model_dump(), "domains": domains, "label_order": order, "graphs": graphs}
    )
    held_out = labelled.read(folder, "", manifest.picture, "test", False)
    shown = {held_out.pictures[i].tobytes(): made.scene(path).person for i, path in enumerate(held_out.pictures.paths)}

    def redraw(tensor: Array, labels: Array) -> Array:
        drawn = [
            Image.fromarray(Portrait(shown[picture.tobytes()].with_attributes(described(row))).draw(made.size))
            for picture, row in zip(to_pixels(tensor, manifest.picture), labels, strict=True)
        ]
        return to_tensor(np.stack([shrink(image, manifest.picture) for image in drawn]), manifest.picture)

    def read_labels(tensor: Array) -> Array:
        pictures = to_pixels(tensor, manifest.picture)
        return np.array([shown[p.tobytes()].attributes.labels() for p in pictures], np.float32) * 20 - 10

    return Subject("renderer", manifest, {"generator": graph(redraw), "classifier": graph(read_labels, "logits")})


def described(labels: Array) -> Attributes:
    """The attributes of a label vector in the avatars' column order."""
    has = dict(zip(COLUMNS, labels > 0.5, strict=True))
    return Attributes(
        hair=next(hair for hair in HAIR if has[hair]),
        expression="happy" if has["smiling"] else "neutral",
        glasses=bool(has["glasses"]),
        beard=bool(has["beard"]),
        hat=bool(has["hat"]),
        age="young" if has["young"] else "old",
        gender="male" if has["male"] else "female",
    )


def test_each_joined_set_has_its_judge_and_its_mask(joint_set: Path) -> None:
    """Requests carry the mask of their own set and no label of another's, and each set's judge checks its requests."""
    told: list[Array] = []

    def paint(tensor: Array, labels: Array) -> Array:
        told.append(labels)
        toy = labels[:, 6] == 1
        made = painted(tensor, labels[:, 2:5])
        made[~toy] = np.where(labels[~toy, 1] == 1, 0.7, -0.8)[:, None, None, None]
        return made

    def read_both(tensor: Array) -> Array:
        brightness = tensor.mean((1, 2, 3))
        return np.concatenate([np.stack([-brightness, brightness], axis=1) * 20, read(tensor)], axis=1)

    manifest = toy_manifest(("shade", "toy"))
    evaluation = measure(
        Subject("joint", manifest, {"generator": graph(paint), "classifier": graph(read_both, "logits")}), joint_set, 60
    )
    assert all(np.array_equal(labels[:, 5:].sum(axis=1), np.ones(len(labels))) for labels in told)
    assert all(not labels[labels[:, 5] == 1, 2:5].any() and not labels[labels[:, 6] == 1, :2].any() for labels in told)
    assert evaluation.metrics["domain set on request, shade, %"] == 100
    assert evaluation.metrics["domain set on request, toy, %"] == 100
    assert evaluation.metrics["own labels read right, %"] == 100
    across = next(table for table in evaluation.tables if table.title == "Requests across sets")
    assert {row.name for row in across.rows} >= {"toy: light", "shade: red", "shade: -bright"}


def test_other_sets_than_the_models_are_named(labelled_set: Path) -> None:
    """Data whose sets are not those of a joint model are refused before a judge is trained."""
    subject = replace(ideal(), manifest=toy_manifest(("shade", "toy")))
    with pytest.raises(DataError, match="dark"):
        measure(subject, labelled_set)


def test_pairs_are_measured_against_the_truth(pair_set: Path) -> None:
    """The exact negative has no error and no distance to the real targets; an idle model has both."""
    perfect = measure(fixed("pix2pix", {"b": "generator"}, generator=lambda x: 255 - x), pair_set)
    assert perfect.metrics["L1 to the truth, levels"] == 0
    assert perfect.metrics["PSNR to the truth, dB"] == 100
    assert perfect.metrics["SSIM to the truth"] == pytest.approx(1)
    assert perfect.metrics["taken for the target domain, %"] == 100
    assert perfect.metrics["FID on the judge's features"] == pytest.approx(0, abs=1e-4)
    idle = measure(fixed("pix2pix", {"b": "generator"}, generator=lambda x: x), pair_set)
    assert idle.metrics["taken for the target domain, %"] == 0
    assert idle.metrics["L1 to the truth, levels"] > 100
    assert idle.metrics["KID on the judge's features"] > perfect.metrics["KID on the judge's features"]


def test_a_model_of_pairs_may_go_from_b_to_a(pair_set: Path) -> None:
    """If a graph takes B, the truth is A."""
    forward = fixed("pix2pix", {"a": "generator"}, generator=lambda x: 255 - x)
    backward = measure(replace(forward, sources={"generator": "b"}), pair_set, 2)
    inputs, _, truth = (strip.pictures for strip in backward.sheets[0].strips)
    assert backward.metrics["L1 to the truth, levels"] == 0
    assert inputs.mean() > 128 > truth.mean()


def test_unpaired_ways_lead_there_and_back(tmp_path: Path) -> None:
    """The exact negative is taken for the other domain and comes back; files of one name are the truth."""
    folder = unpaired_folder(tmp_path / "unpaired", 60)
    both = {"a": "b-to-a", "b": "a-to-b"}
    perfect = measure(fixed("cyclegan", both, a_to_b=lambda x: 255 - x, b_to_a=lambda x: 255 - x), folder)
    for way in ("a to b", "b to a"):
        assert perfect.metrics[f"taken for the target domain, {way}, %"] == 100
        assert perfect.metrics[f"cycle error, L1, {way} and back, levels"] == 0
    assert perfect.metrics["L1 to the truth, b to a, levels"] == 0
    assert "L1 to the truth, a to b, levels" not in perfect.metrics  # B lacks every second file
    assert any("Files of one name" in note for note in perfect.notes)
    idle = measure(fixed("cyclegan", both, a_to_b=lambda x: x, b_to_a=lambda x: 0 * x), folder)
    assert idle.metrics["taken for the target domain, a to b, %"] == 0
    assert idle.metrics["cycle error, L1, a to b and back, levels"] > 20
    assert idle.metrics["KID on the judge's features, a to b"] > perfect.metrics["KID on the judge's features, a to b"]


def test_one_way_alone_has_no_cycle(tmp_path: Path) -> None:
    """A model with one graph is measured in one direction."""
    folder = unpaired_folder(tmp_path / "unpaired", 20)
    metrics = measure(fixed("cyclegan", {"zebra": "a-to-b"}, a_to_b=lambda x: 255 - x), folder, 2).metrics
    assert "taken for the target domain, a to b, %" in metrics
    assert not [key for key in metrics if key.startswith("cycle") or "b to a" in key]


@pytest.mark.parametrize(("case", "data"), [(case, FOLDERS[case]) for case in SMALLEST])
def test_every_recipes_run_can_be_measured(
    case: str, data: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A short run of each recipe gives finite figures, sheets of pictures and the curves of its training."""
    folder = request.getfixturevalue(data)
    subject = open_subject(trained(case, folder, tmp_path / "run", 2).run.folder)
    evaluation = evaluate(subject, folder, tools(steps=2, count=4))
    assert evaluation.step == 2
    assert np.isfinite(list(evaluation.metrics.values())).all()
    assert all(strip.pictures.dtype == np.uint8 for sheet in evaluation.sheets for strip in sheet.strips)
    assert evaluation.curves


def test_run_and_bundle_have_the_same_figures(labelled_set: Path, tmp_path: Path) -> None:
    """PyTorch and ONNX Runtime give the same pictures and labels for the same weights, to one level."""
    made = trained("stargan", labelled_set, tmp_path / "run", 2).run
    export(made, tmp_path / "toy", "fp32", Facts(), None)
    run, bundle = open_subject(made.folder), open_subject(tmp_path / "toy")
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    domain, labels = run.manifest.domains[0], np.eye(3, dtype=np.float32)
    difference = run.translate(domain, pixels, labels).astype(int) - bundle.translate(domain, pixels, labels)
    assert np.abs(difference).max() <= 1
    assert (run.own_labels(pixels) == bundle.own_labels(pixels)).all()


def test_the_sources_of_a_bundles_graphs_are_inferred(tmp_path: Path) -> None:
    """Of two domains the first is A, made from B; a single one is made from A, unless trained from B to A."""
    flip_bundle(tmp_path)
    assert open_subject(tmp_path / "flip").sources == {"zebra": "b", "horse": "a"}
    manifest = fixed("pix2pix", {"a": "generator"}).manifest
    for options, source in (({}, "a"), ({"direction": "BtoA"}, "b")):
        written = manifest.model_copy(update={"training": {"options": options}, "version": source})
        write(tmp_path / "pix2pix", written, {"generator.onnx": model().SerializeToString()})
        assert open_subject(tmp_path / "pix2pix").sources == {"generator": source}


def test_metrics_of_an_evaluation_go_into_the_bundle(labelled_set: Path, tmp_path: Path) -> None:
    """Export adds the figures of an evaluation of these weights, alone or with others, and no other figures."""
    run = trained("stargan", labelled_set, tmp_path / "run", 2).run
    evaluation = measure(open_subject(run.folder), labelled_set, 2)
    write_report([measure(ideal(), labelled_set, 2), evaluation], run.folder / "evaluation")
    export(run, tmp_path / "toy", "fp32", Facts(), None)
    assert open_subject(tmp_path / "toy").manifest.metrics == evaluation.metrics
    trained("stargan", labelled_set, run.folder, 3, resume=True)
    export(run, tmp_path / "toy", "fp32", Facts(version="2"), None)
    assert open_subject(tmp_path / "toy").manifest.metrics == {}


def test_neither_run_nor_bundle_is_refused(tmp_path: Path) -> None:
    """A folder that is neither is named."""
    with pytest.raises(OptionsError, match="is neither a run"):
        open_subject(tmp_path)


def test_subjects_of_one_name_are_named_by_their_folders(labelled_set: Path, tmp_path: Path) -> None:
    """Two runs with the same name get their folders as names."""
    for place in ("one", "two"):
        trained("stargan", labelled_set, tmp_path / place / "run", 2)
    names = [subject.name for subject in open_subjects([tmp_path / "one" / "run", tmp_path / "two" / "run"])]
    assert names == [str(tmp_path / "one" / "run"), str(tmp_path / "two" / "run")]


def test_what_does_not_translate_is_refused(labelled_set: Path) -> None:
    """A model that makes pictures from noise has no translations to measure."""
    subject = replace(ideal(), manifest=toy_manifest().model_copy(update={"task": "generate"}))
    with pytest.raises(OptionsError, match="does not translate"):
        measure(subject, labelled_set)


def test_many_fixed_targets_are_refused(unpaired_set: Path) -> None:
    """Three graphs without labels are not two sides."""
    three = {name: name for name in ("one", "two", "three")}
    with pytest.raises(OptionsError, match="3 targets without labels"):
        measure(fixed("onnx", three), unpaired_set)


def test_missing_data_stop_before_the_judge_is_trained(tmp_path: Path) -> None:
    """The error names the missing data folder."""
    with pytest.raises(DataError, match="there is no data folder"):
        measure(ideal(), tmp_path / "nowhere")
