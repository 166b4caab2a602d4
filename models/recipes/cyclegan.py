"""CycleGAN: unpaired image-to-image translation using cycle-consistent adversarial networks (Zhu et al., ICCV 2017).

a and b are pictures of the two domains A and B, G translates A to B and F translates B to A, D_a and D_b tell real
pictures of their domain from made ones. Equations are the paper's, with X for A and Y for B:

    generators      L = L_GAN(G, D_b) + L_GAN(F, D_a) + w_a ||F(G(a)) - a||_1 + w_b ||G(F(b)) - b||_1    (3), (1), (2)
                      + w_idt (w_b ||G(b) - b||_1 + w_a ||F(a) - a||_1)                              (section 5.2)
    discriminators  (E[(D_b(b) - 1)^2] + E[D_b(G(a))^2]) / 2, and likewise D_a                  (sections 4, 7.1)

Followed from the official code: the generators move first, and the discriminators then see what these made before they
moved, through a pool of 50 pictures; identity counts by default, with half of the cycle's weight. There the network
called D_A judges pictures of B; here a discriminator has the name of the domain that it knows.
"""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from models.bundle.manifest import Manifest, Picture
from models.data import unpaired
from models.data.data import Description
from models.data.parts import Part
from models.networks.patch import discriminator, smallest_side
from models.networks.resnet import ResNet
from models.networks.weights import clip, initialise
from models.objectives.adversarial import OBJECTIVES, Objective
from models.objectives.penalty import gradient_penalty
from models.objectives.reconstruction import l1
from models.recipes import schedules
from models.recipes.pool import PicturePool
from models.recipes.recipe import Batch, Exported, Options, Phase, Recipe


class CycleGANOptions(Options):
    """Defaults are those of the official code."""

    batch: int = Field(1, gt=0)
    """Pictures a step."""
    size: int = Field(256, ge=16, multiple_of=4)
    """Side of the network's pictures, pixels."""
    load_size: int = Field(0, ge=0)
    """Side before the random crop to the size, pixels; 0 takes 286 for 256 and so in proportion."""
    domains: str = ""
    """The names of A and B, `horse,zebra`; empty takes the data's."""
    width: int = Field(64, ge=4)
    """Channels of the generators' first layer."""
    blocks: int = Field(9, ge=1)
    """Residual blocks of the generators; the paper has 6 for 128 pixels and 9 for 256."""
    layers: int = Field(3, ge=0, le=6)
    """Layers of the discriminators, which set the patch that a score sees: 0, 1, 3, 5 for 1, 16, 70, 286 pixels."""
    discriminator_width: int = Field(64, ge=4)
    """Channels of the discriminators' first layer."""
    pool: int = Field(50, ge=0)
    """Made pictures of each domain that are kept for the discriminators; 0 shows them the newest alone."""
    objective: Objective = "lsgan"
    """What generators and discriminators play for: minimax, vanilla, lsgan, wgan, wgan-gp or hinge."""
    adversarial: float = Field(1.0, ge=0)
    """Weight of the objective for the generators; with 0 there are no discriminators."""
    cycle_a: float = Field(10.0, ge=0)
    """Weight of the forward cycle, from A to B and back (lambda_A); 0 leaves it out."""
    cycle_b: float = Field(10.0, ge=0)
    """Weight of the backward cycle, from B to A and back (lambda_B); 0 leaves it out."""
    identity: float = Field(0.5, ge=0)
    """Weight of what a generator changes in pictures of its own target, as a share of the cycles' weights."""
    penalty: float = Field(10.0, ge=0)
    """Weight of the gradient penalty, which only wgan-gp has."""
    clip: float = Field(0.01, gt=0)
    """Bound of the discriminators' weights after each of their steps, which only wgan has."""
    rate: float = Field(2e-4, gt=0)
    """Adam's learning rate for all networks."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's first decay; the second is 0.999."""
    decay_from: float = Field(0.5, ge=0, le=1)
    """Share of the steps after which the rate falls, in a straight line to zero."""

    @field_validator("layers")
    @classmethod
    def _leaves_a_score(cls, layers: int, info: ValidationInfo) -> int:
        if info.data.get("size", 0) < smallest_side(layers):
            raise ValueError(f"{layers} layers need a size of {smallest_side(layers)}; take fewer, or larger pictures")
        return layers

    @field_validator("cycle_b")
    @classmethod
    def _learns_something(cls, weight: float, info: ValidationInfo) -> float:
        if not weight and not info.data.get("cycle_a", 1) and not info.data.get("adversarial", 1):
            raise ValueError("with adversarial, cycle_a and cycle_b all 0 there is nothing to learn")
        return weight


class CycleGAN(Recipe):
    """Two generators that undo each other, and a discriminator for each domain."""

    name = "cyclegan"
    options_type = CycleGANOptions
    averaged = ("a_to_b", "b_to_a")

    def __init__(self, options: CycleGANOptions) -> None:
        self.options = options
        self.game = OBJECTIVES[options.objective]
        self.pools = {"a": PicturePool(options.pool), "b": PicturePool(options.pool)}
        self.made: dict[str, list[Tensor]] = {"a": [], "b": []}
        """What the generators made in this step, for the discriminators that come after them."""
        self.networks: dict[str, nn.Module] = {
            name: ResNet(3, 3, options.width, options.blocks) for name in self.averaged
        }
        self.phases: tuple[Phase, ...] = (Phase("generators", trains=self.averaged),)
        if options.adversarial:
            judges = {
                f"discriminator_{side}": discriminator(3, options.discriminator_width, options.layers) for side in "ab"
            }
            self.networks |= judges
            self.phases = (*self.phases, Phase("discriminators", trains=tuple(judges)))
        for network in self.networks.values():
            initialise(network)

    @classmethod
    def read(cls, folder: Path, options: CycleGANOptions, part: Part) -> unpaired.Unpaired:
        """Pictures of both domains, squeezed to a square bicubically and cropped at random as officially done."""
        picture = Picture(size=options.size, multiple=4, free=True, resize="bicubic", crop="none")
        load_size = options.load_size or round(options.size * 286 / 256)
        return unpaired.read(folder, options.domains, picture, part, options.flip, load_size)

    @classmethod
    def create(cls, options: CycleGANOptions, data: Description) -> Self:
        """Fresh weights from N(0, 0.02)."""
        return cls(options)

    def optimizer(self, phase: str) -> Optimizer:
        """Adam with the published betas, one for both generators and one for both discriminators."""
        (trains,) = (each.trains for each in self.phases if each.name == phase)
        parameters = chain.from_iterable(self.networks[name].parameters() for name in trains)
        return Adam(parameters, lr=self.options.rate, betas=(self.options.beta1, 0.999), fused=True)

    def rate(self, step: int) -> float:
        """1 up to `decay_from`, then linearly to 0."""
        return schedules.linear(step, self.options.steps, self.options.decay_from)

    def before(self, phase: str, batch: Batch) -> Batch:
        """For the discriminators: what the generators made, through the pool, and the penalty's mixing factors."""
        if phase == "generators":
            self.made = {"a": [], "b": []}
            return batch
        drawn = {f"made_{side}": self._pooled(side) for side in "ab"}
        if self.game.penalised:
            drawn["mix"] = self.share.rand(len(batch["a"]), 1, 1, 1)
        return {**batch, **drawn}

    def _pooled(self, side: str) -> Tensor:
        """The pool is every process's own and the same in all, so the whole batch goes through it in each."""
        return self.share.own(self.pools[side].exchange(self.share.gather(torch.cat(self.made[side]))))

    def terms(self, phase: str, batch: Batch, step: int) -> dict[str, Tensor]:
        """The terms of equation (3); `batch` holds a and b, n x 3 x s x s, and what `before` added."""
        if phase == "generators":
            return self._generator_terms(batch["a"], batch["b"])
        return {name: term for side in "ab" for name, term in self._discriminator_terms(side, batch).items()}

    def _generator_terms(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        weights = self.options
        a_to_b, b_to_a = self.networks["a_to_b"], self.networks["b_to_a"]
        made_b, made_a = a_to_b(a), b_to_a(b)
        terms: dict[str, Tensor] = {}
        if weights.adversarial:
            terms["adversarial_a"] = weights.adversarial * self.game.generator(self.networks["discriminator_a"](made_a))
            terms["adversarial_b"] = weights.adversarial * self.game.generator(self.networks["discriminator_b"](made_b))
        if weights.cycle_a:
            terms["cycle_a"] = weights.cycle_a * l1(b_to_a(made_b), a)
        if weights.cycle_b:
            terms["cycle_b"] = weights.cycle_b * l1(a_to_b(made_a), b)
        if weights.cycle_a * weights.identity:
            terms["identity_a"] = weights.cycle_a * weights.identity * l1(b_to_a(a), a)
        if weights.cycle_b * weights.identity:
            terms["identity_b"] = weights.cycle_b * weights.identity * l1(a_to_b(b), b)
        self.made["a"].append(made_a.detach())
        self.made["b"].append(made_b.detach())
        return terms

    def _discriminator_terms(self, side: str, batch: Batch) -> dict[str, Tensor]:
        judge = self.networks[f"discriminator_{side}"]
        real, fake = batch[side], batch[f"made_{side}"]
        # One pass over both halves: instance norm sees each picture alone.
        real_score, fake_score = judge(torch.cat([real, fake])).chunk(2)
        terms = {f"adversarial_{side}": 0.5 * self.game.discriminator(real_score, fake_score)}
        if self.game.penalised:
            terms[f"penalty_{side}"] = self.options.penalty * gradient_penalty(judge, real, fake, batch["mix"])
        return terms

    def after(self, phase: str) -> None:
        """Clips the discriminators' weights where the objective wants it."""
        if phase == "discriminators" and self.game.clipped:
            for side in "ab":
                clip(self.networks[f"discriminator_{side}"], self.options.clip)

    def state(self) -> dict[str, Any]:
        """The pictures of both pools."""
        return {side: pool.state() for side, pool in self.pools.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""
        for side, pool in self.pools.items():
            pool.load_state(state[side], next(self.networks["a_to_b"].parameters()).device)

    def samples(self, batch: Batch) -> Tensor:
        """Each picture of A, its translation and the way back, then the same for B."""
        a, b = batch["a"], batch["b"]
        made_b, made_a = self.networks["a_to_b"](a), self.networks["b_to_a"](b)
        back = self.networks["b_to_a"](made_b), self.networks["a_to_b"](made_a)
        return torch.stack([a, made_b, back[0], b, made_a, back[1]], dim=1)

    def exported(self) -> dict[str, Exported]:
        """Both generators."""
        return {
            "a-to-b": Exported(self.networks["a_to_b"], source="a"),
            "b-to-a": Exported(self.networks["b_to_a"], source="b"),
        }

    def manifest(self, name: str, data: Description) -> Manifest:
        """A bundle with two targets, a graph for each."""
        a, b = data.domains
        return Manifest(
            name=name,
            version="1",
            family=self.name,
            domains=(a.model_copy(update={"graph": "b-to-a"}), b.model_copy(update={"graph": "a-to-b"})),
            graphs={name: graph.entry(name) for name, graph in self.exported().items()},
            picture=data.picture,
            licence="",
            training={"inference": "instance norm, by each picture's own statistics as in training"},
        )
