"""An independent judge: a classifier trained on the real pictures of the same data, which never sees a translation.

It shares neither weights nor architecture with a critic, so no generator has learned to fool it. With labels it learns
the domains. Without labels it learns from which side a picture is and by which quarter turn it was rotated, which gives
it features to compare sets of pictures by. A judge is stored under the hash of everything that its training depends on,
so a second evaluation on the same data finds the same judge.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.bundle.manifest import Domain, Picture
from models.data.data import Data
from models.data.labelled import Labelled
from models.data.loader import batches
from models.data.tables import UNKNOWN, Labels
from models.errors import CheckpointError
from models.evaluation.features import best_device, in_batches
from models.evaluation.metrics import Pixels, Vectors

STEPS = 1250
"""Enough for more than 99 % on every domain of 16,000 avatars."""

Loss = Callable[[nn.Module, dict[str, Tensor]], Tensor]
OnStep = Callable[[int, int], None]
_BATCH = 32
_FORMAT = 2  # raise it when the network or its training changes, so that no stored judge is read again
_TURNS = 4


class Network(nn.Module):
    """A small residual classifier with batch norm: 3 x s x s pixels in [-1, 1] to logits."""

    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in range(4):
            layers += [_Stage(channels, width * 2**stage)]
            channels = width * 2**stage
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels * 16, outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels n x 3 x s x s to logits n x outputs."""
        # Pooled to 4 x 4 instead of a single place: the position of a feature helps to tell what it is.
        pooled = functional.adaptive_avg_pool2d(self.features(pixels), 4)
        logits: Tensor = self.head(pooled.flatten(1))
        return logits

    def embed(self, pixels: Tensor) -> Tensor:
        """The last features, averaged over the picture: n x (8 width)."""
        averaged: Tensor = self.features(pixels).mean((2, 3))
        return averaged


class _Stage(nn.Module):
    """Two 3x3 convolutions, the first with stride 2, and a strided 1x1 convolution as the shortcut."""

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
    """A trained network, and how pictures become its input."""

    network: Network
    picture: Picture

    def features(self, pixels: Pixels) -> Vectors:
        """Pictures n x s x s x 3 to vectors n x (8 width)."""
        return in_batches(self.network.embed, pixels, self.picture, next(self.network.parameters()).device)

    def logits(self, pixels: Pixels) -> Vectors:
        """Pictures n x s x s x 3 to logits, n x outputs."""
        return in_batches(self.network, pixels, self.picture, next(self.network.parameters()).device)


@dataclass(frozen=True)
class LabelJudge(Judge):
    """A judge of these domains, in this order."""

    domains: tuple[Domain, ...]

    def labels(self, pixels: Pixels) -> Labels:
        """Pictures to labels n x c in {0, 1}: the most probable domain of each group, others above one half."""
        logits = self.logits(pixels)
        labels = (logits > 0).astype(np.float32)
        for group in {domain.group for domain in self.domains} - {None}:
            columns = [column for column, domain in enumerate(self.domains) if domain.group == group]
            labels[:, columns] = np.eye(len(columns))[logits[:, columns].argmax(axis=1)]
        return labels


@dataclass(frozen=True)
class SideJudge(Judge):
    """A judge of the two sides of a set, A and B, and of quarter turns."""

    def sides(self, pixels: Pixels) -> NDArray[np.bool_]:
        """Which pictures it assigns to B, n."""
        is_b: NDArray[np.bool_] = self.logits(pixels)[:, 0] > 0
        return is_b

    def turn_accuracy(self, pixels: Pixels) -> float:
        """The share of quarter turns that it recognises, over all four of each picture."""
        turned = [np.rot90(pixels, turns, axes=(1, 2)) for turns in range(_TURNS)]
        right = [self.logits(some)[:, 1:].argmax(axis=1) == turns for turns, some in enumerate(turned)]
        return float(np.mean(right))


@dataclass(frozen=True)
class Training:
    """How judges are trained, the channels of their first stage, and the folder that stores them, if any."""

    steps: int = STEPS
    folder: Path | None = None
    seed: int = 0
    width: int = 32


def label_judge(data: Labelled, domains: Sequence[Domain], training: Training, on_step: OnStep) -> LabelJudge:
    """A judge of the domains of `data`, a training part; `domains` are those of its columns, in order."""
    facts = ("labels", [domain.name for domain in domains], hashlib.sha256(data.labels.tobytes()).hexdigest())

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        known = (batch["labels"] != UNKNOWN).float()
        return functional.binary_cross_entropy_with_logits(network(batch["pixels"]), batch["labels"], known)

    network = _load_or_train(len(domains), data, facts, loss, training, on_step)
    return LabelJudge(network, data.description.picture, tuple(domains))


def side_judge(data: Data, training: Training, on_step: OnStep) -> SideJudge:
    """A judge of the sides `a` and `b` of `data`, a training part of pairs or of an unpaired set."""

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        # Which side a picture is from, and how it was rotated (Gidaris et al., ICLR 2018). Two sides are easily told
        # apart by a colour or two; rotations make the judge learn shapes, so its features measure more.
        a, b = batch["a"], batch["b"]
        pixels = torch.cat([a, b])
        sides = torch.cat([torch.zeros(len(a)), torch.ones(len(b))]).to(pixels.device)
        turns = torch.randint(_TURNS, (len(pixels),))
        turned = torch.stack([torch.rot90(one, int(k), (1, 2)) for one, k in zip(pixels, turns, strict=True)])
        logits = network(turned)
        side = functional.binary_cross_entropy_with_logits(logits[:, 0], sides)
        return side + functional.cross_entropy(logits[:, 1:], turns.to(pixels.device))

    network = _load_or_train(1 + _TURNS, data, ("sides",), loss, training, on_step)
    return SideJudge(network, data.description.picture)


def _load_or_train(
    outputs: int, data: Data, facts: Sequence[object], loss: Loss, training: Training, on_step: OnStep
) -> Network:
    """The network with the weights stored for these facts; trains and stores it if there are none."""
    # Before the network is made, so that weights and rotations follow from the seed alone.
    torch.manual_seed(training.seed)
    network = Network(outputs, training.width)
    if training.folder is None:
        return _train(network, data, loss, training, on_step)
    # Everything that the weights depend on; of the files, names and sizes stand for their content.
    files = [[f"{path.parent.name}/{path.name}", path.stat().st_size] for path in data.pictures.paths]
    picture = data.description.picture.model_dump(mode="json")
    content = [_FORMAT, training.steps, training.seed, training.width, picture, list(facts), files]
    path = training.folder / f"{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]}.pt"
    if not path.exists():
        _train(network, data, loss, training, on_step)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")  # renamed at the end: a killed evaluation leaves no broken judge
        torch.save(network.state_dict(), beside)
        os.replace(beside, path)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable judge; remove it, and a new one is trained") from error
    return network.to(best_device()).eval().requires_grad_(False)


def _train(network: Network, data: Data, loss: Loss, training: Training, on_step: OnStep) -> Network:
    """A fixed number of steps with Adam, its rate decaying to zero as a cosine."""
    network.to(best_device())
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    source = batches(data, _BATCH, training.seed, 0)
    for step in range(training.steps):
        batch = {name: tensor.to(best_device()) for name, tensor in next(source).items()}
        value = loss(network, batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        on_step(step + 1, training.steps)
    return network.eval().requires_grad_(False)
