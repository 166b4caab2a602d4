"""A network as the loop calls it: under Fabric's autocast, with results in 32 bits.

Fabric's own wrapper forbids gradients of gradients (its hook demands `fabric.backward` for every backward pass),
which the gradient penalty needs, so networks are called through this one.
"""

from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn


class Autocast(nn.Module):
    """Calls `network` under autocast; losses then see float32, where a mean over bfloat16 would lose digits."""

    def __init__(self, network: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.network = network
        self._fabric = fabric

    def forward(self, *inputs: Tensor) -> Any:
        """Whatever the network gives: a tensor or a tuple of tensors."""
        with self._fabric.autocast():
            outputs = self.network(*inputs)
        return outputs.float() if isinstance(outputs, Tensor) else tuple(output.float() for output in outputs)
