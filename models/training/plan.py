"""What a training would do, in a few lines for people, before it is begun."""

import torch

from models.data.data import Data
from models.training.start import Prepared


def describe(prepared: Prepared) -> list[str]:
    """Recipe, data, domains and networks; CheckpointError where a run that is to go on can't."""
    run, options = prepared.run, prepared.run.options
    latest = run.latest()
    begin = f"goes on at step {latest['step']:,}" if latest else "begins anew"
    training, held_out = _size(prepared.training), _size(prepared.samples)
    return [
        f"recipe: {run.recipe.name}, {options.steps:,} steps, batch {options.batch}, {options.size} px; {begin}",
        f"data: {run.data.name}, {training} to train with, {held_out} held out",
        f"domains: {_domains(prepared)}",
        f"networks: {_networks(prepared)}",
    ]


def _size(data: Data) -> str:
    files = len(data.pictures)
    return f"{len(data):,} examples" + (f" of {files:,} files" if files != len(data) else "")


def _domains(prepared: Prepared) -> str:
    counts = prepared.run.data.counts
    if counts:
        return ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return ", ".join(domain.name for domain in prepared.run.data.domains)


def _networks(prepared: Prepared) -> str:
    run = prepared.run
    with torch.device("meta"):  # shapes alone: no memory is taken
        networks = run.recipe.create(run.options, run.data).networks
    sizes = {name: sum(weights.numel() for weights in network.parameters()) for name, network in networks.items()}
    return ", ".join(f"{name} {size:,} parameters" for name, size in sizes.items())
