"""An independent classifier of domains, trained on the real pictures of the same data; it never sees a generator.

It shares no weights and no architecture with any critic, so that a generator can't have learned to fool it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.bundle.domains import probabilities
from models.bundle.manifest import Manifest
from models.bundle.pixels import to_tensor
from models.data.data import Data
from models.data.loader import batches
from models.evaluation.metrics import Pixels

STEPS = 1250
"""Enough for more than 99 % on every domain of 16,000 avatars."""
_BATCH = 32


class Network(nn.Module):
    """A small residual classifier with batch norm: 3 x s x s pixels in [-1, 1] to c logits."""

    def __init__(self, labels: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in range(4):
            layers += [_Stage(channels, width * 2**stage)]
            channels = width * 2**stage
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels * 16, labels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits n x c; a 4 x 4 grid is kept before the head, since where a feature lies says what it is."""
        pooled = functional.adaptive_avg_pool2d(self.features(pixels), 4)
        logits: Tensor = self.head(pooled.flatten(1))
        return logits


class _Stage(nn.Module):
    """Two 3x3 convolutions, the first halves the picture; a strided 1x1 carries the input across."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.across = nn.Conv2d(inputs, outputs, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """n x inputs x h x w to n x outputs x h/2 x w/2."""
        return functional.relu(self.second(self.first(x)) + self.across(x))


@dataclass(frozen=True)
class Judge:
    """A trained classifier and the manifest that says what its columns mean."""

    network: Network
    manifest: Manifest

    @torch.no_grad()
    def labels(self, pixels: Pixels) -> NDArray[np.float32]:
        """Pictures n x s x s x 3 to labels n x c in {0, 1}: the likeliest of each group, else what exceeds one half."""
        logits = np.concatenate(
            [
                self.network(torch.from_numpy(to_tensor(pixels[i : i + 256], self.manifest.picture))).numpy()
                for i in range(0, len(pixels), 256)
            ]
        )
        shares = probabilities(self.manifest, logits)
        labels = (shares > 0.5).astype(np.float32)
        for members in self.manifest.groups.values():
            columns = [member.column for member in members if member.column is not None]
            labels[:, columns] = shares[:, columns] == shares[:, columns].max(axis=1, keepdims=True)
        return labels


def train_judge(
    data: Data, manifest: Manifest, on_step: Callable[[int, int], None], steps: int = STEPS, seed: int = 0
) -> Judge:
    """Trains on `data` (its training part) for a fixed number of steps; Adam, cosine decay to zero."""
    torch.manual_seed(seed)
    network = Network(len(manifest.label_order))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    source = batches(data, _BATCH, seed, 0)
    for step in range(steps):
        batch = next(source)
        loss = functional.binary_cross_entropy_with_logits(network(batch["pixels"]), batch["labels"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        on_step(step + 1, steps)
    return Judge(network.eval().requires_grad_(False), manifest)
