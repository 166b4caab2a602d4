"""Evaluates one subject on held-out pictures, in the way that its manifest asks for."""

from pathlib import Path

from models.errors import OptionsError
from models.evaluation.attributes import evaluate_attributes
from models.evaluation.figures import Evaluation
from models.evaluation.instruments import Instruments
from models.evaluation.sides import evaluate_pairs, evaluate_unpaired
from models.evaluation.subject import Subject


def evaluate(subject: Subject, folder: Path, instruments: Instruments) -> Evaluation:
    """Trains or finds the judge of the data's training part, then measures on the held-out part.

    DataError when the data are missing or do not fit the model, OptionsError for a model that does not translate, or
    has more than two targets without labels.
    """
    manifest = subject.manifest
    if manifest.task != "translate":
        raise OptionsError(f"{subject.name} does not translate but {manifest.task}s; there is nothing to evaluate")
    if manifest.label_order:
        return evaluate_attributes(subject, folder, instruments)
    if len(manifest.domains) > 2:
        raise OptionsError(f"{subject.name} has {len(manifest.domains)} targets without labels; two can be evaluated")
    if manifest.family == "pix2pix":
        return evaluate_pairs(subject, folder, instruments)
    # Other models with fixed targets may come without pairs, so they are measured without.
    return evaluate_unpaired(subject, folder, instruments)
