"""An exponentially averaged copy of chosen networks: steadier pictures than the last weights give."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class Averages:
    """Follows `live` networks with the decay a step that was asked for; starts as a copy."""

    def __init__(self, live: Mapping[str, nn.Module], copies: Mapping[str, nn.Module], decay: float) -> None:
        self.copies = dict(copies)
        self._live = dict(live)
        self._decay = decay
        for name, copy in self.copies.items():
            copy.load_state_dict(self._live[name].state_dict())
            copy.requires_grad_(False)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the copies; early on the decay is smaller, so that the random start is soon forgotten."""
        weight = 1 - min(self._decay, (1 + step) / (10 + step))
        for name, copy in self.copies.items():
            torch._foreach_lerp_(list(copy.parameters()), list(self._live[name].parameters()), weight)
            for mine, theirs in zip(copy.buffers(), self._live[name].buffers(), strict=True):
                mine.copy_(theirs)

    def state(self) -> dict[str, Any]:
        """A state dict for each copy."""
        return {name: copy.state_dict() for name, copy in self.copies.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""
        for name, copy in self.copies.items():
            copy.load_state_dict(state[name])
