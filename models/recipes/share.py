"""What one process holds of a step's batch: its rows, and draws that come out as if one process held them all.

Every process begins a phase with the same random state and draws for the whole batch, so that N processes move the
weights as one would. Rows go by rank: of 16 pictures, the second of two processes holds the last 8.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, distributed

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Share:
    """The rows of rank `rank` among `ranks`; as it stands, those of a training in one process: all."""

    rank: int = 0
    ranks: int = 1
    device: torch.device = _CPU

    def rand(self, n: int, *shape: int) -> Tensor:
        """Uniform draws n x shape from [0, 1) for the `n` rows held here."""
        return self.own(torch.rand(n * self.ranks, *shape, device=self.device))

    def permuted(self, rows: Tensor, kinds: Tensor) -> Tensor:
        """Rows n x c of the whole batch in one random order, of which as many as were given.

        Each changes its place with rows of its own kind alone, by whole numbers `kinds` n.
        """
        everyone = self.gather(kinds)
        order = torch.randperm(len(everyone)).to(rows.device)
        source = torch.empty_like(order)
        source[everyone.argsort(stable=True)] = order[everyone[order].argsort(stable=True)]
        return self.own(self.gather(rows)[source])

    def gather(self, rows: Tensor) -> Tensor:
        """The whole batch's rows, the same in every process; without gradients."""
        if self.ranks == 1:
            return rows.detach()
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.ranks)]
        distributed.all_gather(parts, rows.detach().contiguous())
        return torch.cat(parts)

    def own(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor that has the whole batch's."""
        rows = len(whole) // self.ranks
        return whole[self.rank * rows : (self.rank + 1) * rows]
