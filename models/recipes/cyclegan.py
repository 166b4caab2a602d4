"""CycleGAN: unpaired image-to-image translation using cycle-consistent adversarial networks (Zhu et al., ICCV 2017).

a and b are pictures of the two domains A and B, G translates A to B and F translates B to A, D_a and D_b distinguish
real and made pictures of their domain. Equations are the paper's, with X for A and Y for B:

    generators      L = L_GAN(G, D_b) + L_GAN(F, D_a) + w_a ||F(G(a)) - a||_1 + w_b ||G(F(b)) - b||_1    (3), (1), (2)
                      + w_idt (w_b ||G(b) - b||_1 + w_a ||F(a) - a||_1)                              (section 5.2)
    discriminators  (E[(D_b(b) - 1)^2] + E[D_b(G(a))^2]) / 2, and likewise D_a                  (sections 4, 7.1)

As in the official code, the generators move first; the discriminators then see the pictures from before that move,
through a pool of 50; and identity counts by default, with half of the cycle's weight. The official D_A judges pictures
of B; here a discriminator has the name of the domain that it judges.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from models.bundle.manifest import Manifest, Picture
from models.data import unpaired
from models.data.data import Description
from models.data.parts import Part
from models.networks.layers import initialise
from models.networks.patch import discriminator
from models.networks.resnet import ResNet
from models.objectives.adversarial import clip_weights, gradient_penalty
from models.objectives.supervised import l1
from models.recipes.options import Game, PatchOptions
from models.recipes.recipe import Batch, Exported, Phase, Recipe, State, Terms


class CycleGANOptions(PatchOptions):
    """The defaults are those of the official code."""

    size: int = Field(256, ge=16, multiple_of=4)
    """Side of the network's pictures, pixels."""
    domains: str = ""
    """The names of A and B, `horse,zebra`; empty takes the data's."""
    width: int = Field(64, ge=4)
    """Channels of the generators' first layer."""
    blocks: int = Field(9, ge=1)
    """Residual blocks of the generators; the paper has 6 for 128 pixels and 9 for 256."""
    pool: int = Field(50, ge=0)
    """Made pictures of each domain that the pool keeps for the discriminators; 0 shows only the newest."""
    objective: Game = "lsgan"
    cycle_a: float = Field(10.0, ge=0)
    """Weight of the forward cycle, from A to B and back (lambda_A); 0 leaves it out."""
    cycle_b: float = Field(10.0, ge=0)
    """Weight of the backward cycle, from B to A and back (lambda_B); 0 leaves it out."""
    identity: float = Field(0.5, ge=0)
    """Weight of a generator's changes to pictures of its own target, as a share of the cycles' weights."""

    @field_validator("cycle_b")
    @classmethod
    def _check_weights(cls, weight: float, info: ValidationInfo) -> float:
        # A field that failed its own check is missing here, and has its own error.
        if not weight and not info.data.get("cycle_a", 1) and not info.data.get("adversarial", 1):
            raise ValueError("with adversarial, cycle_a and cycle_b all 0 there is nothing to learn")
        return weight


class PicturePool:
    """Up to `size` made pictures, so that a discriminator does not forget the generator's earlier pictures.

    Shrivastava et al., CVPR 2017, section 2.3; CycleGAN, section 4, with 50 pictures.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pictures: list[Tensor] = []

    def exchange(self, made: Tensor) -> Tensor:
        """Takes n new pictures 3 x h x w one by one and returns one for each, by draws from torch's CPU generator.

        Until the pool is full, each new picture itself; then, half of the time, an old one whose place it takes.
        """
        if not self.size:
            return made.detach()
        returned: list[Tensor] = []
        for new in made.detach():
            if len(self.pictures) < self.size:
                self.pictures.append(new.clone())
            elif torch.rand(()).item() >= 0.5:
                place = int(torch.randint(self.size, ()).item())
                new, self.pictures[place] = self.pictures[place], new.clone()
            returned.append(new)
        return torch.stack(returned)

    def state(self) -> list[Tensor]:
        """The pictures, for a checkpoint."""
        return list(self.pictures)

    def load_state(self, state: Iterable[Tensor], device: torch.device) -> None:
        """Restores the pictures."""
        self.pictures = [picture.to(device) for picture in state]


class CycleGAN(Recipe[CycleGANOptions]):
    """Two generators that undo each other, and a discriminator for each domain."""

    name = "cyclegan"
    options_type = CycleGANOptions
    averaged = ("a_to_b", "b_to_a")

    def __init__(self, options: CycleGANOptions) -> None:
        self.options = options
        self.pools = {"a": PicturePool(options.pool), "b": PicturePool(options.pool)}
        self.made: dict[str, list[Tensor]] = {"a": [], "b": []}
        """The generators' pictures of this step for the discriminators, in as many parts as the batch."""
        self.a_to_b = ResNet(3, 3, options.width, options.blocks)
        self.b_to_a = ResNet(3, 3, options.width, options.blocks)
        self.discriminators: dict[str, nn.Module] = {}
        """The discriminator of each domain, `a` and `b`; none where the objective has no weight."""
        self.phases = (
            Phase(
                "generators",
                trains=self.averaged,
                terms=self.generator_terms,
                optimizer=options.adam,
                before=self.forget_made,
            ),
        )
        if options.adversarial:
            self.discriminators = {side: discriminator(3, options.discriminator_width, options.layers) for side in "ab"}
            self.phases += (
                Phase(
                    "discriminators",
                    trains=("discriminator_a", "discriminator_b"),
                    terms=self.discriminator_terms,
                    optimizer=options.adam,
                    before=self.take_from_pools,
                    after=self.clip_discriminators,
                ),
            )
        judges = {f"discriminator_{side}": judge for side, judge in self.discriminators.items()}
        self.networks = {"a_to_b": self.a_to_b, "b_to_a": self.b_to_a, **judges}
        for network in self.networks.values():
            initialise(network)

    @classmethod
    def read(cls, folder: Path, options: CycleGANOptions, part: Part) -> unpaired.Unpaired:
        """Pictures of both domains, resized to a square bicubically and cropped at random as in the official code."""
        picture = Picture(size=options.size, multiple=4, free=True, resize="bicubic", crop="none")
        return unpaired.read(folder, options.domains, picture, part, options.flip, options.loaded_side)

    @classmethod
    def create(cls, options: CycleGANOptions, data: Description) -> Self:
        """Fresh weights from N(0, 0.02)."""
        return cls(options)

    def rate(self, step: int) -> float:
        """1 up to `decay_from`, then linearly to 0."""
        return self.options.linear_decay(step)

    def forget_made(self, batch: Batch) -> Batch:
        """Before the generators: drops the pictures of the last step, which the discriminators have seen."""
        self.made = {"a": [], "b": []}
        return batch

    def generator_terms(self, batch: Batch, step: int) -> Terms:
        """The generators' terms of equation (3); `batch` holds a and b, n x 3 x s x s."""
        weights, game = self.options, self.options.game
        a, b = batch["a"], batch["b"]
        made_b, made_a = self.a_to_b(a), self.b_to_a(b)
        terms: Terms = {}
        if weights.adversarial:
            terms["adversarial_a"] = weights.adversarial * game.generator(self.discriminators["a"](made_a))
            terms["adversarial_b"] = weights.adversarial * game.generator(self.discriminators["b"](made_b))
        if weights.cycle_a:
            terms["cycle_a"] = weights.cycle_a * l1(self.b_to_a(made_b), a)
        if weights.cycle_b:
            terms["cycle_b"] = weights.cycle_b * l1(self.a_to_b(made_a), b)
        # A generator gets a picture of its own target: the paper's G makes B, so it must not change a picture of B.
        if weights.cycle_a * weights.identity:
            terms["identity_a"] = weights.cycle_a * weights.identity * l1(self.b_to_a(a), a)
        if weights.cycle_b * weights.identity:
            terms["identity_b"] = weights.cycle_b * weights.identity * l1(self.a_to_b(b), b)
        self.made["a"].append(made_a.detach())
        self.made["b"].append(made_b.detach())
        return terms

    def take_from_pools(self, batch: Batch) -> Batch:
        """Before the discriminators: the generators' pictures through the pools, and the penalty's mixing factors."""
        drawn: Batch = {}
        for side, pool in self.pools.items():
            # All processes hold the same pool, so the whole batch goes through it in each.
            everyone = self.share.gather(torch.cat(self.made[side]))
            drawn[f"made_{side}"] = self.share.own(pool.exchange(everyone))
        # After the pools' draws, as the order of draws is part of a seeded run.
        if self.options.game.penalised:
            drawn["mix"] = self.share.rand(len(batch["a"]), 1, 1, 1)
        return {**batch, **drawn}

    def discriminator_terms(self, batch: Batch, step: int) -> Terms:
        """The discriminators' terms; `batch` as `take_from_pools` returns it."""
        game, terms = self.options.game, Terms()
        for side, judge in self.discriminators.items():
            real, fake = batch[side], batch[f"made_{side}"]
            # One pass over both halves is safe, as instance norm sees each picture alone.
            real_score, fake_score = judge(torch.cat([real, fake])).chunk(2)
            terms[f"adversarial_{side}"] = 0.5 * game.discriminator(real_score, fake_score)
            if game.penalised:
                slope = gradient_penalty(judge, real, fake, batch["mix"])
                terms[f"penalty_{side}"] = self.options.penalty * slope
        return terms

    def clip_discriminators(self, terms: Mapping[str, Tensor]) -> None:
        """After the discriminators: clips their weights if the objective needs it."""
        if self.options.game.clipped:
            for judge in self.discriminators.values():
                clip_weights(judge, self.options.clip)

    def state(self) -> State:
        """The pictures of both pools."""
        return {side: pool.state() for side, pool in self.pools.items()}

    def load_state(self, state: State) -> None:
        """Restores the pools without pictures of another size, which can't stand beside new ones in a batch."""
        device = next(self.a_to_b.parameters()).device
        for side, pool in self.pools.items():
            pool.load_state([made for made in state[side] if made.shape[-1] == self.options.size], device)

    def samples(self, batch: Batch) -> Tensor:
        """Each picture of A, its translation and the way back, then the same for B."""
        a, b = batch["a"], batch["b"]
        made_b, made_a = self.a_to_b(a), self.b_to_a(b)
        return torch.stack([a, made_b, self.b_to_a(made_b), b, made_a, self.a_to_b(made_a)], dim=1)

    def exported(self) -> dict[str, Exported]:
        """Both generators."""
        return {
            "a-to-b": Exported(self.a_to_b, source="a"),
            "b-to-a": Exported(self.b_to_a, source="b"),
        }

    def manifest(self, name: str, data: Description) -> Manifest:
        """A bundle with two targets and a graph for each."""
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
