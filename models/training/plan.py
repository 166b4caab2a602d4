"""What a training would do, in a few lines for people, before it is begun."""

from pathlib import Path

import torch

from models.data.data import Data
from models.training.pretrained import begin_with
from models.training.start import Prepared


def describe(prepared: Prepared) -> list[str]:
    """Recipe, data, domains and networks; CheckpointError or OptionsError where weights to begin with don't fit."""
    run, options = prepared.run, prepared.run.options
    begin = _beginning(prepared)
    training, held_out = _size(prepared.training), _size(prepared.samples)
    return [
        f"recipe: {run.recipe.name}, {options.steps:,} steps, batch {options.batch}, {options.size} px; {begin}",
        f"data: {run.data.name}, {training} to train with, {held_out} held out",
        f"domains: {_domains(prepared)}",
        f"networks: {_networks(prepared)}",
    ]


def _beginning(prepared: Prepared) -> str:
    run = prepared.run
    latest = run.latest()
    if latest:
        return f"goes on at step {latest['step']:,}"
    if run.options.pretrained:
        recipe = run.recipe.create(run.options, run.data)
        return f"begins with the weights of {begin_with(Path(run.options.pretrained), recipe, run.data)}"
    return "begins anew"


def _size(data: Data) -> str:
    files = len(data.pictures)
    return f"{len(data):,} examples" + (f" of {files:,} files" if files != len(data) else "")


def _domains(prepared: Prepared) -> str:
    counts, unknown = prepared.run.data.counts, prepared.run.data.unknown
    if counts:
        gaps = {name: f" ({count:,} unknown)" for name, count in unknown.items()}
        return ", ".join(f"{name} {count:,}{gaps.get(name, '')}" for name, count in counts.items())
    return ", ".join(domain.name for domain in prepared.run.data.domains)


def _networks(prepared: Prepared) -> str:
    run = prepared.run
    with torch.device("meta"):  # shapes alone: no memory is taken
        networks = run.recipe.create(run.options, run.data).networks
    sizes = {name: sum(weights.numel() for weights in network.parameters()) for name, network in networks.items()}
    return ", ".join(f"{name} {size:,} parameters" for name, size in sizes.items())
