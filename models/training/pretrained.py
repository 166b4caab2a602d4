"""Begins a training with the weights of a bundle, shipped, exported or imported, instead of random ones.

A graph's initialisers have the names of the network's weights. Networks that the bundle lacks begin at random:
discriminators, a critic's patch scores. A kernel that grows with the size, like that of a critic's classification, is
resized, so that the training may have another size. The columns of a new domain begin at zero, so that at first the
other domains give the same pictures as the bundle.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from models.bundle import archive
from models.bundle.manifest import Manifest
from models.data.data import Description
from models.errors import OptionsError
from models.recipes import AnyRecipe
from models.recipes.recipe import Exported


def begin_with(folder: Path, recipe: AnyRecipe, data: Description) -> str:
    """Copies the bundle's weights into the recipe's networks, domains by name, and returns its `name@version`.

    OptionsError if the bundle can't be read, is of another recipe, or has networks of another shape.
    """
    try:
        bundle = archive.read(folder)
        if bundle.manifest.family != recipe.name:
            raise OptionsError(f"the bundle {bundle.ref} is of the recipe {bundle.manifest.family}, not {recipe.name}")
        wanted = recipe.manifest(recipe.name, data)
        shared = {name: each for name, each in recipe.exported().items() if name in bundle.manifest.graphs}
        if not shared:
            raise OptionsError(f"the bundle {bundle.ref} has none of the graphs {', '.join(recipe.exported())}")
        for name, exported in shared.items():
            graph = onnx.load_model_from_string(bundle.load(bundle.manifest.graphs[name].file)).graph
            # Copied, as the arrays are read-only; float32, as a fp16 bundle has halves.
            stored = {
                each.name: torch.from_numpy(numpy_helper.to_array(each).copy()).float() for each in graph.initializer
            }
            _match(exported, stored, _columns(bundle.manifest, name), _columns(wanted, name))
            _copy(exported.module, stored, f"graph {name} of {bundle.ref}")
    except archive.BundleError as error:
        raise OptionsError(f"pretrained={folder}: {error}") from error
    return bundle.ref


def _columns(manifest: Manifest, graph: str) -> tuple[str, ...]:
    """The domains and masks of a graph's label columns or logits, in order."""
    return manifest.label_order + (manifest.mask_columns if manifest.graphs[graph].labels else ())


def _match(exported: Exported, stored: dict[str, Tensor], had: Sequence[str], wanted: Sequence[str]) -> None:
    """Reorders the stored weight with a slice for each domain, adds zeros for new ones, and resizes its kernel."""
    if exported.columns is None or exported.columns[0] not in stored:
        return  # `_copy` reports a missing weight
    name, axis = exported.columns
    old = stored[name].movedim(axis, 0)
    first = len(old) - len(had)
    slices = [old[first + had.index(domain)] if domain in had else torch.zeros_like(old[0]) for domain in wanted]
    matched = torch.cat([old[:first], torch.stack(slices)]).movedim(0, axis)
    kernel = dict(exported.module.named_parameters())[name].shape[2:]
    # The kernel's sum stays, so that constant features give the same logits.
    share = matched.shape[2:].numel() / kernel.numel()
    stored[name] = functional.interpolate(matched, size=kernel, mode="area") * share


@torch.no_grad()
def _copy(module: nn.Module, stored: Mapping[str, Tensor], source: str) -> None:
    """Overwrites all weights and running statistics of a network; OptionsError, and no change, if they don't fit."""
    buffers = ((name, buffer) for name, buffer in module.named_buffers() if buffer.is_floating_point())
    ours = dict(chain(module.named_parameters(), buffers))
    for name, weights in ours.items():
        if name not in stored:
            raise OptionsError(f"{source} has no weights {name}: another network, or the export rewrote it")
        if weights.shape != stored[name].shape:
            has, wants = (" x ".join(map(str, tensor.shape)) for tensor in (stored[name], weights))
            raise OptionsError(f"{source} has {name} of {has}, these options want {wants}; take its own options")
    for name, weights in ours.items():
        weights.copy_(stored[name])
