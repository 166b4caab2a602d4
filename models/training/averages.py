"""An exponentially averaged copy of chosen networks: steadier pictures than the last weights give."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Averages:
    """Follows `live` networks with the decay a step that was asked for; starts as a copy."""

    def __init__(self, live: Mapping[str, nn.Module], copies: Mapping[str, nn.Module], decay: float) -> None:
        self.copies = dict(copies)
        self._decay = decay
        for name, copy in self.copies.items():
            copy.load_state_dict(live[name].state_dict())
            copy.requires_grad_(False)
        self._mine: list[Tensor] = [weights for copy in self.copies.values() for weights in copy.parameters()]
        self._theirs: list[Tensor] = [weights for name in self.copies for weights in live[name].parameters()]
        self._buffers = [
            pair
            for name, copy in self.copies.items()
            for pair in zip(copy.buffers(), live[name].buffers(), strict=True)
        ]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the copies; early on the decay is smaller, so that the random start is soon forgotten."""
        if self._mine:
            torch._foreach_lerp_(self._mine, self._theirs, 1 - min(self._decay, (1 + step) / (10 + step)))
        for mine, theirs in self._buffers:
            mine.copy_(theirs)

    def state(self) -> dict[str, Any]:
        """A state dict for each copy."""
        return {name: copy.state_dict() for name, copy in self.copies.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""
        for name, copy in self.copies.items():
            copy.load_state_dict(state[name])
