"""A BEGAN at its smallest, as a recipe: what the protocol carries that no recipe of the table needs yet.

A critic that is an autoencoder, a scalar state k that its averaged terms move, a measure that is logged and not
minimised, normal noise, and a first stage that ends (Berthelot et al. 2017, section 3.4).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn

from models.bundle.manifest import Manifest, Picture
from models.data import labelled
from models.data.data import Description
from models.data.parts import Part
from models.recipes.options import AdversarialOptions
from models.recipes.recipe import Batch, Exported, Phase, Recipe, State, Terms
from models.training.loop import Trainer
from models.training.run import Run

LATENT = 8
WARM = 2
"""Steps in which the critic learns pictures alone."""


class BalancedOptions(AdversarialOptions):
    """Those of any GAN."""

    gamma: float = 0.5
    """Error of what is made, as a share of the error of pictures, that k holds."""


class Balanced(Recipe[BalancedOptions]):
    """An autoencoder that tells pictures from what is made by how well it gives them back."""

    name = "balanced"
    options_type = BalancedOptions

    def __init__(self, options: BalancedOptions) -> None:
        self.options = options
        self.k = torch.tensor(0.5)
        side = options.size
        self.generator = nn.Sequential(nn.Linear(LATENT, 3 * side**2), nn.Unflatten(1, (3, side, side)), nn.Tanh())
        self.critic = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.ELU(), nn.ConvTranspose2d(8, 3, 4, 2, 1))
        self.networks = {"generator": self.generator, "critic": self.critic}
        self.phases = (
            Phase("pictures", ("critic",), self.picture_terms, options.adam, until=WARM),
            Phase("critic", ("critic",), self.critic_terms, options.adam, self.draw, self.move_k, start=WARM),
            Phase("generator", ("generator",), self.generator_terms, options.adam, self.draw),
        )

    @classmethod
    def read(cls, folder: Path, options: BalancedOptions, part: Part) -> labelled.Labelled:
        """Labelled pictures, whose labels are not looked at."""
        return labelled.read(folder, "", Picture(size=options.size, multiple=2), part, options.flip)

    @classmethod
    def create(cls, options: BalancedOptions, data: Description) -> Self:
        """Fresh weights."""
        return cls(options)

    def draw(self, batch: Batch) -> Batch:
        """Normal noise z, n x LATENT."""
        return {**batch, "z": self.share.randn(len(batch["pixels"]), LATENT)}

    def error(self, x: Tensor) -> Tensor:
        """The L1 distance between pictures and what the critic gives back."""
        return cast(Tensor, (self.critic(x) - x).abs().mean())

    def picture_terms(self, batch: Batch, step: int) -> Terms:
        """The error of pictures."""
        return {"real": self.error(batch["pixels"])}

    def critic_terms(self, batch: Batch, step: int) -> Terms:
        """L(x) - k L(G(z)), and as a measure L(G(z))."""
        with torch.no_grad():
            fake = self.generator(batch["z"])
        made = self.error(fake)
        return {"real": self.error(batch["pixels"]), "fake": -self.k * made, "made": made.detach()}

    def generator_terms(self, batch: Batch, step: int) -> Terms:
        """L(G(z))."""
        return {"made": self.error(self.generator(batch["z"]))}

    def move_k(self, terms: Mapping[str, Tensor]) -> None:
        """k <- k + 0.5 (gamma L(x) - L(G(z))); published with 0.001, here fast enough to be seen."""
        self.k = (self.k + 0.5 * (self.options.gamma * terms["real"] - terms["made"])).clamp(0, 1)

    def state(self) -> State:
        """k."""
        return {"k": self.k}

    def load_state(self, state: State) -> None:
        """Takes k back."""
        self.k = cast(Tensor, state["k"])

    def samples(self, batch: Batch) -> Tensor:
        """The pictures alone."""
        return batch["pixels"][:, None]

    def exported(self) -> dict[str, Exported]:
        """Nothing: it is trained, and not served."""
        return {}

    def manifest(self, name: str, data: Description) -> Manifest:
        """None, for the same reason."""
        raise NotImplementedError


def balanced(data: Path, out: Path, steps: int, kind: type[Balanced] = Balanced) -> Trainer:
    """Its training in `out`, of which nothing is done yet."""
    said = {"steps": steps, "batch": 4, "size": 32, "workers": 0, "log_every": 1, "rate": 1e-2}
    options = BalancedOptions.model_validate(said)
    training, samples = (kind.read(data, options, part) for part in ("train", "test"))
    return Trainer(Run(out, kind, options, data, training.description), training, samples)


def k_of(made: Trainer) -> Tensor:
    """Its k where a training stands."""
    assert isinstance(made.recipe, Balanced)
    return made.recipe.k
