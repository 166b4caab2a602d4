"""Measures one subject on held-out pictures, by the kind of model that its manifest says it is.

Models with fixed targets that are not known for pairs are taken for models of unpaired domains, whatever trained them.
"""

from pathlib import Path

from models.errors import OptionsError
from models.evaluation.attributes import evaluate_attributes
from models.evaluation.evaluation import Evaluation
from models.evaluation.instruments import Instruments
from models.evaluation.pairs import evaluate_pairs
from models.evaluation.subject import Subject
from models.evaluation.unpaired import evaluate_unpaired


def evaluate(subject: Subject, folder: Path, instruments: Instruments) -> Evaluation:
    """Makes or finds the judge of the data's training part, then measures on its held-out part.

    DataError when the data are missing or not the model's, OptionsError for a model that is no translator.
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
    return evaluate_unpaired(subject, folder, instruments)
