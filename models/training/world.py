"""The processes of one training: torchrun starts them, and what each learned is averaged after every phase.

Each holds the same weights and its own rows of every batch. Fabric's own wrapper for that is not used: it forbids the
gradient penalty (docs/decisions/0003), and one exchange of all that a phase trains is simpler than a hook a layer.
"""

import atexit
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed

from models.errors import CheckpointError, OptionsError
from models.recipes.recipe import Precision
from models.recipes.share import Share
from models.training.memory import keep_freed


@dataclass(frozen=True)
class World:
    """This process, of rank `rank` among `ranks`, and its device."""

    fabric: Fabric
    rank: int = 0
    ranks: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the run and reports; the first one does."""
        return self.rank == 0

    def share(self) -> Share:
        """What a recipe may know of the other processes."""
        return Share(self.rank, self.ranks, self.fabric.device)

    def seed(self, seed: int) -> None:
        """Seeds what is drawn on the CPU and on this process's device; `torch.manual_seed` looks at every backend."""
        torch.default_generator.manual_seed(seed)
        if self.fabric.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def rows(self, batch: int, parts: int) -> range:
        """The rows of a batch that are held here; OptionsError when they can't be dealt out evenly."""
        if batch % (self.ranks * parts):
            raise OptionsError(
                f"option batch={batch} can't be dealt out evenly over {self.ranks} processes with accumulate={parts}; "
                f"take a multiple of {self.ranks * parts}"
            )
        held = batch // self.ranks
        return range(self.rank * held, (self.rank + 1) * held)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its mean over the processes, to the same bits everywhere; one exchange for all."""
        if self.ranks == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.ranks
        for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def agree(self, step: int) -> None:
        """Waits for the others; CheckpointError when they begin at another step, since they see other files."""
        steps = self.share().gather(torch.tensor([step], device=self.fabric.device)).tolist()
        if len(set(steps)) > 1:
            begun = ", ".join(map(str, steps))
            raise CheckpointError(f"the processes would begin at steps {begun}; all must see the same run folder")


def join(precision: Precision) -> World:
    """This process alone with the first device, or under torchrun one of several, each with a device of its own."""
    several = distributed.is_torchelastic_launched()
    devices = [distributed.get_node_local_rank()] if several and torch.cuda.is_available() else 1
    fabric = Fabric(accelerator="auto", devices=devices, precision=precision)
    fabric.launch()  # before the processes meet: it says which GPU is this one's
    if fabric.device.type == "cpu":
        keep_freed()
    if not several:
        return World(fabric)
    if not distributed.is_initialized():
        distributed.init_process_group()
        atexit.register(distributed.destroy_process_group)
    return World(fabric, distributed.get_rank(), distributed.get_world_size())
