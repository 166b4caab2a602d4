"""An evaluation gives a perfect model perfect figures and an idle one poor ones, and its report stands alone."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.training import trained

from models.bundle.manifest import Manifest
from models.bundle.pixels import to_pixels, to_tensor
from models.data import avatars
from models.errors import DataError, OptionsError
from models.evaluation.evaluate import Evaluation, evaluate
from models.evaluation.report import write_report
from models.evaluation.subject import Subject, open_subject
from models.export import Facts, export

Array = NDArray[np.float32]
SIDE = 32


def run_subject(data: Path, out: Path) -> Subject:
    torch.set_num_threads(1)
    trained("stargan", data, out, 2)
    return open_subject(out)


def measure(subject: Subject, data: Path, judge_steps: int = 40) -> Evaluation:
    return evaluate(subject, data, 40, lambda what, done, total: None, judge_steps)


def ideal(manifest: Manifest) -> Subject:
    """A model of the plain set that paints what is asked: halves in the colours of support.data."""

    def paint(tensor: Array, labels: Array) -> Array:
        pixels = to_pixels(tensor, manifest.picture)
        for picture, (red, green, bright) in zip(pixels, labels, strict=True):
            picture[:, : SIDE // 2] = np.array([red, green, 0]) * 200 + 10
            picture[:, SIDE // 2 :] = 200 if bright else 20
        return to_tensor(pixels, manifest.picture)

    def read(tensor: Array) -> Array:
        left, right = np.split(tensor.mean(2), 2, axis=2)
        red, green, _ = left.mean(2).T
        return np.stack([red - green, green - red, right.mean((1, 2)) + 0.4], axis=1) * 20

    return Subject("ideal", manifest, {"generator": paint, "classifier": read})


def test_a_perfect_model_has_perfect_figures(labelled_set: Path, tmp_path: Path) -> None:
    """Everything asked is set, everything else kept, and own labels are read right."""
    manifest = run_subject(labelled_set, tmp_path / "run").manifest
    metrics = measure(ideal(manifest), labelled_set).metrics
    assert metrics["judge accuracy on real pictures, lowest"] == 1
    assert metrics["domain set on request, lowest"] == 1
    assert metrics["attributes not asked for kept, lowest"] == 1
    assert metrics["own labels read right"] == 1


def test_a_model_that_does_nothing_sets_nothing(labelled_set: Path, tmp_path: Path) -> None:
    """The identity keeps all and sets none, at the highest PSNR to its input."""
    subject = run_subject(labelled_set, tmp_path / "run")
    idle = replace(ideal(subject.manifest), graphs={**ideal(subject.manifest).graphs, "generator": lambda x, c: x})
    metrics = measure(idle, labelled_set).metrics
    assert metrics["domain set on request, mean"] == 0
    assert metrics["attributes not asked for kept, mean"] == 1
    assert metrics["PSNR to the input when nothing is asked, dB"] == 100


def test_counterfactuals_are_those_of_the_renderer(tmp_path: Path) -> None:
    """On avatars a model that draws the person anew with what is asked has 100 dB over the face."""
    avatars.write(tmp_path / "avatars", 30, SIDE, 3, lambda count: None)
    manifest = run_subject(tmp_path / "avatars", tmp_path / "run").manifest
    people = {avatars.draw(p, SIDE).tobytes(): p for p in (avatars.person(3, index) for index in range(30))}

    def redraw(tensor: Array, labels: Array) -> Array:
        drawn = [
            avatars.draw(people[picture.tobytes()].changed(described(row)), SIDE)
            for picture, row in zip(to_pixels(tensor, manifest.picture), labels, strict=True)
        ]
        return to_tensor(np.stack(drawn), manifest.picture)

    def read(tensor: Array) -> Array:
        pictures = to_pixels(tensor, manifest.picture)
        return np.array([people[p.tobytes()].attributes.labels() for p in pictures], np.float32) * 20 - 10

    renderer = Subject("renderer", manifest, {"generator": redraw, "classifier": read})
    evaluation = measure(renderer, tmp_path / "avatars", 2)
    assert evaluation.metrics["PSNR to the exact counterfactual over the head, lowest domain, dB"] == 100
    assert evaluation.metrics["SSIM to the exact counterfactual"] == pytest.approx(1)


def described(labels: Array) -> avatars.Attributes:
    """The attributes that a label vector in the avatars' column order stands for."""
    has = dict(zip(avatars.COLUMNS, labels > 0.5, strict=True))
    return avatars.Attributes(
        hair=next(hair for hair in avatars.HAIR if has[hair]),
        smiling=bool(has["smiling"]),
        glasses=bool(has["glasses"]),
        beard=bool(has["beard"]),
        hat=bool(has["hat"]),
        age="young" if has["young"] else "old",
        gender="male" if has["male"] else "female",
    )


def test_run_and_bundle_are_measured_alike(labelled_set: Path, tmp_path: Path) -> None:
    """PyTorch and ONNX Runtime give the same pictures and labels for the same weights, to one level."""
    run = run_subject(labelled_set, tmp_path / "run")
    export(trained("stargan", labelled_set, tmp_path / "again", 2).run, tmp_path / "toy", "fp32", Facts(), None)
    bundle = open_subject(tmp_path / "toy")
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    labels = np.eye(3, dtype=np.float32)
    difference = run.translate(pixels, labels).astype(int) - bundle.translate(pixels, labels)
    assert np.abs(difference).max() <= 1
    assert (run.own_labels(pixels) == bundle.own_labels(pixels)).all()


def test_report_stands_alone_and_says_every_figure(labelled_set: Path, tmp_path: Path) -> None:
    """One HTML file with pictures inside and no address to load from; the same figures as JSON."""
    evaluation = measure(ideal(run_subject(labelled_set, tmp_path / "run").manifest), labelled_set)
    write_report(evaluation, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(evaluation.examples)
    assert re.findall(r"(?:src|href)=\"(?!data:)", page) == []
    figures = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert figures["metrics"] == evaluation.metrics
    assert all(name in page for name in evaluation.metrics)


def test_metrics_of_an_evaluation_go_into_the_bundle(labelled_set: Path, tmp_path: Path) -> None:
    """A run that was evaluated exports its figures; figures of other weights are left out."""
    run = trained("stargan", labelled_set, tmp_path / "run", 2).run
    evaluation = measure(open_subject(run.folder), labelled_set, 2)
    write_report(evaluation, run.folder / "evaluation")
    export(run, tmp_path / "toy", "fp32", Facts(), None)
    assert open_subject(tmp_path / "toy").manifest.metrics == evaluation.metrics
    trained("stargan", labelled_set, run.folder, 3, resume=True)
    export(run, tmp_path / "toy", "fp32", Facts(version="2"), None)
    assert open_subject(tmp_path / "toy").manifest.metrics == {}


def test_neither_run_nor_bundle_is_refused(tmp_path: Path) -> None:
    """A folder that is neither is named."""
    with pytest.raises(OptionsError, match="is neither a run"):
        open_subject(tmp_path)


def test_missing_data_stop_before_the_judge_is_trained(labelled_set: Path, tmp_path: Path) -> None:
    """The data folder that is not there is named."""
    with pytest.raises(DataError, match="there is no data folder"):
        measure(run_subject(labelled_set, tmp_path / "run"), tmp_path / "nowhere")
