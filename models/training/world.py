"""The processes of one training, which torchrun starts; they average their gradients after every phase.

Each holds the same weights and its own rows of every batch. PyTorch's wrapper for that, DDP, would forbid the gradient
penalty (docs/decisions/0003), and one exchange of all gradients of a phase is simpler than a hook for each layer.
"""

import atexit
import contextlib
import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from models.errors import CheckpointError, OptionsError
from models.recipes.recipe import Share

# Parameters of mallopt, from malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


@dataclass(frozen=True)
class World:
    """This process, of rank `rank` among `ranks`, and its device."""

    device: torch.device
    rank: int = 0
    ranks: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process, the first one, writes the run and reports."""
        return self.rank == 0

    def share(self) -> Share:
        """The recipe's view of the processes."""
        return Share(self.rank, self.ranks, self.device)

    def seed(self, seed: int) -> None:
        """Seeds the CPU and this process's device; `torch.manual_seed` would go through every backend, at each turn."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def rows(self, batch: int, parts: int) -> range:
        """This process's rows of a batch; OptionsError if the batch can't be divided evenly."""
        if batch % (self.ranks * parts):
            raise OptionsError(
                f"option batch={batch} can't be divided evenly over {self.ranks} processes with accumulate={parts}; "
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
        """Waits for the other processes; CheckpointError if they begin at another step, as they see other files."""
        steps = self.share().gather(torch.tensor([step], device=self.device)).tolist()
        if len(set(steps)) > 1:
            begun = ", ".join(map(str, steps))
            raise CheckpointError(f"the processes would begin at steps {begun}; all must see the same run folder")


def join() -> World:
    """This process with the first device, or under torchrun one of several, each with its own device."""
    several = distributed.is_torchelastic_launched()
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", distributed.get_node_local_rank() if several else 0)
        torch.cuda.set_device(device)  # before the processes meet, as NCCL takes the current GPU
    elif torch.backends.mps.is_available():
        device = torch.device("mps")
    if device.type == "cpu":
        keep_freed()
    if not several:
        return World(device)
    if not distributed.is_initialized():
        distributed.init_process_group()
        atexit.register(distributed.destroy_process_group)
    return World(device, distributed.get_rank(), distributed.get_world_size())


def keep_freed() -> None:
    """Makes the GNU C library keep freed memory in this process; with another C library it does nothing.

    By default GNU's returns large blocks at once, and the system zeroes them again, page by page, for the next layer:
    at 128 pixels on a CPU this was a fifth of a step, and half of a gradient penalty.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, -1)
