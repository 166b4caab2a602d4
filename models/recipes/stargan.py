"""StarGAN: unified GANs for multi-domain image-to-image translation (Choi et al., CVPR 2018).

x is a picture, c its own labels, c_t the target labels, a permutation of the batch's own. Equations are the paper's:

    critic     L_D = -L_adv + w_cls L_cls^r            (5), L_adv with gradient penalty (8), L_cls^r (2)
    generator  L_G =  L_adv + w_cls L_cls^f + w_rec L_rec   (6), L_cls^f (3), L_rec = ||x - G(G(x, c_t), c)||_1 (4)

Where the official code differs from the paper and is followed: classification is summed over attributes; a step is a
critic step, and the generator moves on every fifth. Its decay ends at 0.999 of the rate by a slip; `decay=official`
keeps that, `linear` (the default) falls to zero as the paper says.

Own additions, off by default: `mask` gives the generator GANimation's mask, which lets pixels through. `warmup` trains
the critic alone first, since a generator that hears of reconstruction before it hears of domains settles on no change.
`keep` leaves some of the target's groups as the picture has them, since people ask for one change and not for all at
once. `identity` weighs ||x - G(x, c)||_1 on those pictures of the batch whose target came out as their own label, at no
extra pass.
"""

from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from models.bundle.manifest import Domain, Graph, Manifest, Picture
from models.data import labelled
from models.data.data import Description
from models.networks.stargan import Critic, Generator
from models.objectives.classification import attribute_loss
from models.objectives.reconstruction import l1
from models.objectives.wasserstein import critic_loss, generator_loss, gradient_penalty
from models.recipes.recipe import Batch, Exported, Options, Phase, Recipe


class StarGANOptions(Options):
    """Defaults are those of the official code."""

    domains: str = ""
    """Columns to learn, `hair=black|blond,smiling`; empty takes the data's domains.txt, else every column."""
    width: int = Field(64, ge=4)
    """Channels of the generator's first layer."""
    blocks: int = Field(6, ge=1)
    """Residual blocks of the generator."""
    mask: bool = False
    """Whether the generator has GANimation's mask, which lets pixels through; in the paper it paints everything."""
    critic_width: int = Field(64, ge=4)
    """Channels of the critic's first layer."""
    critic_layers: int = Field(6, ge=1)
    """Halvings in the critic; the size must be a multiple of 2 to this power."""
    generator_every: int = Field(5, ge=1)
    """Critic steps for each step of the generator (n_critic)."""
    warmup: int = Field(0, ge=0)
    """Steps of the critic alone at the start, so that it knows the domains before the generator settles; paper: 0."""
    rate: float = Field(1e-4, gt=0)
    """Adam's learning rate for both networks."""
    beta1: float = Field(0.5, ge=0, lt=1)
    """Adam's first decay; the second is 0.999."""
    decay: Literal["linear", "official", "none"] = "linear"
    """How the rate falls: to zero (the paper), by a thousandth in all (the official code), or not at all."""
    decay_from: float = Field(0.5, ge=0, le=1)
    """Share of the steps after which the rate begins to fall."""
    classification: float = Field(1.0, ge=0)
    """Weight of the domain classification, summed over attributes."""
    reconstruction: float = Field(10.0, ge=0)
    """Weight of the cycle's L1 distance."""
    penalty: float = Field(10.0, ge=0)
    """Weight of the gradient penalty."""
    keep: float = Field(0.0, ge=0, lt=1)
    """Chance for each group and attribute of a target that it stays the picture's own; the paper permutes all: 0."""
    identity: float = Field(0.0, ge=0)
    """Weight of the L1 distance to the input where the target is the picture's own label; the paper has none: 0."""


class StarGAN(Recipe):
    """One generator for all domains, one critic that also classifies."""

    name = "stargan"
    options_type = StarGANOptions
    averaged = ("generator",)

    def __init__(self, options: StarGANOptions, domains: tuple[Domain, ...]) -> None:
        self.options = options
        self.domains = domains
        labels = len(domains)
        self.groups = _group_numbers(domains)
        self.generator = Generator(labels, options.width, options.blocks, options.mask)
        self.critic = Critic(labels, options.size, options.critic_width, options.critic_layers)
        self.networks = {"generator": self.generator, "critic": self.critic}
        self.phases = (
            Phase("critic", trains=("critic",)),
            Phase("generator", trains=("generator",), every=options.generator_every, start=options.warmup),
        )

    @classmethod
    def read(cls, folder: Path, options: StarGANOptions, part: labelled.Part) -> labelled.Labelled:
        """Labelled pictures, the centre square resized bilinearly as the official code does."""
        picture = Picture(size=options.size, multiple=4, free=True, resize="bilinear", crop="centre")
        return labelled.read(folder, options.domains, picture, part, options.flip)

    @classmethod
    def create(cls, options: StarGANOptions, data: Description) -> Self:
        """Fresh weights for the data's domains; PyTorch's own initialisation, as the official code."""
        return cls(options, data.domains)

    def optimizer(self, phase: str) -> Optimizer:
        """Adam with the published betas."""
        parameters = self.networks[phase].parameters()
        return Adam(parameters, lr=self.options.rate, betas=(self.options.beta1, 0.999), fused=True)

    def rate(self, step: int) -> float:
        """1 up to `decay_from`, then as `decay` says."""
        begin = self.options.decay_from * self.options.steps
        if step < begin or self.options.decay == "none":
            return 1.0
        if self.options.decay == "linear":
            return max(0.0, (self.options.steps - step) / (self.options.steps - begin))
        return 1.0 - (step - begin) // 1000 / 100_000

    def terms(self, phase: str, batch: Batch, step: int) -> dict[str, Tensor]:
        """The terms of equations (5) and (6); `batch` holds pixels n x 3 x s x s and labels n x c."""
        x, c = batch["pixels"], batch["labels"]
        c_t = self._targets(c)
        return self._critic_terms(x, c, c_t) if phase == "critic" else self._generator_terms(x, c, c_t)

    def _targets(self, c: Tensor) -> Tensor:
        """The batch's labels permuted; with chance `keep` a group's columns stay the picture's own."""
        permuted = c[torch.randperm(len(c)).to(c.device)]
        kept = torch.rand(len(c), max(self.groups) + 1, device=c.device) < self.options.keep
        return torch.where(kept[:, self.groups], c, permuted)

    def _critic_terms(self, x: Tensor, c: Tensor, c_t: Tensor) -> dict[str, Tensor]:
        critic = self.networks["critic"]
        with torch.no_grad():
            fake = self.networks["generator"](x, c_t)
        # One pass over both halves: the critic has no norm, so pictures don't see their neighbours.
        scores, logits = critic(torch.cat([x, fake]))
        real_score, fake_score = scores.chunk(2)
        return {
            "adversarial": critic_loss(real_score, fake_score),
            "classification": self.options.classification * attribute_loss(logits[: len(x)], c),
            "penalty": self.options.penalty * gradient_penalty(lambda pixels: critic(pixels)[0], x, fake),
        }

    def _generator_terms(self, x: Tensor, c: Tensor, c_t: Tensor) -> dict[str, Tensor]:
        generator = self.networks["generator"]
        fake = generator(x, c_t)
        score, logits = self.networks["critic"](fake)
        terms = {
            "adversarial": generator_loss(score),
            "classification": self.options.classification * attribute_loss(logits, c_t),
            "reconstruction": self.options.reconstruction * l1(x, generator(fake, c)),
        }
        own = (c == c_t).all(dim=1)
        if self.options.identity and own.any():
            # The share of such pictures is the weight's too, so that the term does not jump with their number.
            terms["identity"] = self.options.identity * own.float().mean() * l1(x[own], fake[own])
        return terms

    def samples(self, batch: Batch) -> Tensor:
        """Each picture, then its translation to every domain as the official test does."""
        x, c = batch["pixels"], batch["labels"]
        columns = [x]
        columns += [self.networks["generator"](x, targets(c, self.domains, domain)) for domain in range(c.shape[1])]
        return torch.stack(columns, dim=1)

    def exported(self) -> dict[str, Exported]:
        """The generator, and the critic's classification head to read a picture's own labels."""
        return {
            "generator": Exported(self.generator, "translated", len(self.domains)),
            "classifier": Exported(_Classifier(self.critic), "logits"),
        }

    def manifest(self, name: str, data: Description) -> Manifest:
        """An attribute bundle with a classifier."""
        return Manifest(
            name=name,
            version="1",
            family=self.name,
            domains=data.domains,
            graphs={
                "generator": Graph(file="generator.onnx", labels=True),
                "classifier": Graph(file="classifier.onnx", labels=False),
            },
            picture=data.picture,
            classifier="classifier",
            label_order=tuple(domain.name for domain in data.domains),
            licence="",
            files={},
        )


def _group_numbers(domains: tuple[Domain, ...]) -> list[int]:
    """For each label column the number of its group; an attribute of its own is a group of one."""
    names = [domain.group or f"alone {domain.name}" for domain in domains]
    return [sorted(set(names)).index(name) for name in names]


def targets(labels: Tensor, domains: tuple[Domain, ...], index: int) -> Tensor:
    """Labels n x c asked for one domain: a group's member goes on and its fellows off, an attribute turns over."""
    changed = labels.clone()
    group = domains[index].group
    if group is None:
        changed[:, index] = 1 - changed[:, index]
    else:
        changed[:, [i for i, domain in enumerate(domains) if domain.group == group]] = 0
        changed[:, index] = 1
    return changed


class _Classifier(torch.nn.Module):
    """The critic without its patch scores."""

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels n x 3 x size x size to logits n x c."""
        logits: Tensor = self.critic(pixels)[1]
        return logits
