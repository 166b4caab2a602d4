"""StarGAN: unified GANs for multi-domain image-to-image translation (Choi et al., CVPR 2018).

x is a picture, c its own labels, c_t the target labels, a permutation of the batch's own. Equations are the paper's:

    critic     L_D = -L_adv + w_cls L_cls^r            (5), L_adv with gradient penalty (8), L_cls^r (2)
    generator  L_G =  L_adv + w_cls L_cls^f + w_rec L_rec   (6), L_cls^f (3), L_rec = ||x - G(G(x, c_t), c)||_1 (4)

Labels may be unknown. An unknown label adds nothing to the classification and leaves the target unknown; for the
generator, the critic's reading of the picture takes its place.

Several labelled sets train together as in section 3.2: c~ = [c_1, ..., c_n, m] (7). The labels of all sets except the
picture's own are 0, and the one-hot mask m names that set. The critic has a logit for each label, and only those of the
picture's own set count. Targets are permuted within each set.

Like the official code and unlike the paper, classification is a sum over attributes, and a step is a step of the
critic, with the generator on every fifth. A slip in the official decay ends it at 0.999 of the rate; `decay=official`
keeps that, `linear` (the default) falls to zero as in the paper.

Our additions, off by default. `mask` gives the generator GANimation's mask, which lets pixels through. `warmup` trains
the critic alone first, since a generator that learns reconstruction before domains settles on no change. `keep` leaves
some of the picture's own groups in the target, since people request one change and not all at once. `identity` weighs
||x - G(x, c)||_1 for those pictures whose target equals their own label, without an extra pass. `erase` and `shift`
change every picture that the critic sees: a few pixels of grey hair can convince a critic that sees everything, and a
generator that pays for every change then paints only these. `blur` hides such speckles from the classification; the
score still sees the sharp picture, or speckles would cost nothing. `smoothing` stops the reward for exaggeration.
`balance` draws rare domains more often. `projection` gives the critic the labels too: hair that is too yellow then
looks unlike real blond hair, which the classification alone can't tell.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from models.bundle.manifest import Domain, Manifest, Picture
from models.bundle.ports import PIXELS, Input, Output
from models.data import labelled
from models.data.data import Description
from models.data.parts import Part
from models.data.tables import UNKNOWN
from models.networks.stargan import Critic, Generator
from models.objectives.adversarial import clip_weights, gradient_penalty
from models.objectives.diffaugment import blur, erase, shift
from models.objectives.supervised import l1
from models.recipes.columns import Columns
from models.recipes.options import AdversarialOptions, Game, Rate
from models.recipes.recipe import Batch, Exported, Phase, Recipe, Terms


class StarGANOptions(AdversarialOptions):
    """The defaults are those of the official code."""

    domains: str = ""
    """Columns to learn, `hair=black|blond,smiling`; empty takes the data's domains.txt, else every column."""
    width: int = Field(64, ge=4)
    """Channels of the generator's first layer."""
    blocks: int = Field(6, ge=1)
    """Residual blocks of the generator."""
    mask: bool = False
    """Whether the generator has GANimation's mask, which lets pixels through; the paper paints everything."""
    critic_width: int = Field(64, ge=4)
    """Channels of the critic's first layer."""
    critic_layers: int = Field(6, ge=1)
    """Halvings in the critic; the size must be a multiple of 2 to this power."""
    projection: bool = False
    """Whether the critic's score also depends on the labels; the paper: no."""
    objective: Game = "wgan-gp"
    generator_every: int = Field(5, ge=1)
    """Critic steps for each step of the generator (n_critic)."""
    warmup: int = Field(0, ge=0)
    """Steps of the critic alone at the start, so that it knows the domains before the generator; the paper: 0."""
    rate: Rate = 1e-4
    decay: Literal["linear", "official", "none"] = "linear"
    """How the rate falls: to zero (the paper), by a thousandth in all (the official code), or not at all."""
    classification: float = Field(1.0, ge=0)
    """Weight of the domain classification, summed over attributes."""
    reconstruction: float = Field(10.0, ge=0)
    """Weight of the cycle's L1 distance."""
    keep: float = Field(0.0, ge=0, lt=1)
    """Chance that a target keeps a group or attribute of the picture; the paper permutes all: 0."""
    identity: float = Field(0.0, ge=0)
    """Weight of the L1 distance to the input where the target is the picture's own label; the paper: 0."""
    balance: float = Field(0.0, ge=0, le=0.5)
    """Least share of the examples with, and without, each label: rare ones come more often; the paper: 0."""
    erase: float = Field(0.0, ge=0, lt=1)
    """Side of a random square that the critic does not see, as a share of the size; the paper: 0."""
    shift: float = Field(0.0, ge=0, lt=1)
    """Largest random shift of the critic's pictures, as a share of the size; the paper: 0."""
    blur: float = Field(0.0, ge=0, le=8)
    """Sigma in pixels of the strongest blur of pictures that the critic classifies, not scores; the paper: 0."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    """Label smoothing of the classification, so that exaggeration brings no gain; the paper: 0."""

    @field_validator("critic_layers")
    @classmethod
    def _check_layers(cls, layers: int, info: ValidationInfo) -> int:
        size = info.data.get("size", 0)
        if size % max(4, 2**layers):
            raise ValueError(f"size {size} is no multiple of {max(4, 2**layers)}; take another size or fewer layers")
        return layers


class StarGAN(Recipe[StarGANOptions]):
    """One generator for all domains, one critic that also classifies."""

    name = "stargan"
    options_type = StarGANOptions
    averaged = ("generator",)

    def __init__(self, options: StarGANOptions, domains: tuple[Domain, ...], masks: tuple[str, ...] = ()) -> None:
        self.options = options
        self.columns = Columns(domains, masks)
        self.masks = masks
        self.generator = Generator(len(domains) + len(masks), options.width, options.blocks, options.mask)
        self.critic = Critic(
            len(domains), options.size, options.critic_width, options.critic_layers, options.projection
        )
        self.networks = {"generator": self.generator, "critic": self.critic}
        self.phases = (
            Phase(
                "critic",
                trains=("critic",),
                terms=self.critic_terms,
                optimizer=options.adam,
                before=self.draw_for_critic,
                after=self.clip_critic,
            ),
            Phase(
                "generator",
                trains=("generator",),
                terms=self.generator_terms,
                optimizer=options.adam,
                before=self.draw_for_generator,
                every=options.generator_every,
                start=options.warmup,
            ),
        )

    @classmethod
    def read(cls, folder: Path, options: StarGANOptions, part: Part) -> labelled.Labelled:
        """Labelled pictures, the centre square resized bilinearly as in the official code."""
        picture = Picture(size=options.size, multiple=4, free=True, resize="bilinear", crop="centre")
        return labelled.read(folder, options.domains, picture, part, options.flip, options.balance)

    @classmethod
    def create(cls, options: StarGANOptions, data: Description) -> Self:
        """Fresh weights for the data's domains; PyTorch's own initialisation, as in the official code."""
        return cls(options, data.domains, data.masks)

    def rate(self, step: int) -> float:
        """1 up to `decay_from`, then as `decay` says."""
        if self.options.decay == "linear":
            return self.options.linear_decay(step)
        begin = self.options.decay_from * self.options.steps
        if step < begin or self.options.decay == "none":
            return 1.0
        # The official code subtracts rate / 100,000 once in 1,000 steps; a decay to zero needs it at each.
        return 1.0 - (step - begin) // 1000 / 100_000

    def draw_for_critic(self, batch: Batch) -> Batch:
        """Adds targets, the penalty's mixing factors, and draws for the changes to the critic's pictures."""
        drawn = self.with_targets(batch)
        # Between targets and changes, as the order of draws is part of a seeded run.
        if self.options.game.penalised:
            drawn["mix"] = self.share.rand(len(batch["labels"]), 1, 1, 1)
        return self.with_changes(drawn)

    def draw_for_generator(self, batch: Batch) -> Batch:
        """Adds targets, the same as the critic's of this step, and draws for the changes to the critic's pictures."""
        return self.with_changes(self.with_targets(batch))

    def with_targets(self, batch: Batch) -> Batch:
        """Adds targets n x c, the labels permuted within each set, and masks n x m, which are 1 for a single set.

        A target keeps the picture's own group or attribute with chance `keep`, and where the permuted label is unknown.
        """
        c = batch["labels"]
        m = batch["masks"] if self.masks else c.new_ones(len(c), 1)
        permuted = self.share.permute(c, m.argmax(dim=1))
        kept = self.share.rand(len(c), max(self.columns.units) + 1) < self.options.keep
        targets = torch.where(kept[:, self.columns.units] | (permuted == UNKNOWN), c, permuted)
        return {**batch, "targets": targets, "masks": m}

    def with_changes(self, batch: Batch) -> Batch:
        """Adds uniform draws for each change to the critic's pictures."""
        changes = (("erase", self.options.erase, 2), ("shift", self.options.shift, 2), ("blur", self.options.blur, 1))
        n = len(batch["labels"])
        return {**batch, **{name: self.share.rand(n, numbers) for name, strength, numbers in changes if strength}}

    def critic_terms(self, batch: Batch, step: int) -> Terms:
        """The terms of equation (5).

        `batch` holds pixels n x 3 x s x s, labels and targets n x c, masks n x m, mix n x 1 x 1 x 1 for the penalty,
        and draws for the changes to the critic's pictures: erase n x 2, shift n x 2, blur n x 1.
        """
        game = self.options.game
        x, m = batch["pixels"], batch["masks"]
        c, c_t = batch["labels"], batch["targets"]
        with torch.no_grad():  # this phase does not train the generator, so it needs no graph
            fake = self._translate(x, self._fill_unknown(batch)[1], m)
        x, fake = self._seen(x, batch), self._seen(fake, batch)
        # One pass over both halves is safe: the critic has no norm, so pictures don't see their neighbours.
        scores, logits = self.critic(torch.cat([x, fake]), torch.cat([c, c_t]))
        real_score, fake_score = scores.chunk(2)
        logits = self._blurred_logits(x, batch) if self.options.blur else logits[: len(x)]
        terms = {
            "adversarial": game.discriminator(real_score, fake_score),
            "classification": self._domain_loss(logits, c),
        }
        if game.penalised:
            # A picture between two has labels between theirs, which only the projection reads.
            between = torch.lerp(c_t, c, batch["mix"].flatten(1))
            slope = gradient_penalty(lambda pixels: self.critic(pixels, between)[0], x, fake, batch["mix"])
            terms["penalty"] = self.options.penalty * slope
        return terms

    def generator_terms(self, batch: Batch, step: int) -> Terms:
        """The terms of equation (6); `batch` as for the critic, without mix."""
        x, m = batch["pixels"], batch["masks"]
        c, c_t = self._fill_unknown(batch)
        fake = self._translate(x, c_t, m)
        seen = self._seen(fake, batch)
        score, logits = self.critic(seen, batch["targets"])
        if self.options.blur:
            logits = self._blurred_logits(seen, batch)
        terms = {
            "adversarial": self.options.game.generator(score),
            "classification": self._domain_loss(logits, batch["targets"]),
            "reconstruction": self.options.reconstruction * l1(x, self._translate(fake, c, m)),
        }
        if self.options.identity:
            # Other pictures count as 0, so that the term does not jump with the number of those that keep their label.
            own = (c == c_t).all(dim=1)[:, None, None, None]
            terms["identity"] = self.options.identity * l1(x * own, fake * own)
        return terms

    def _seen(self, pixels: Tensor, batch: Batch) -> Tensor:
        """Pictures n x 3 x s x s as the critic sees them."""
        if self.options.shift:
            pixels = shift(pixels, batch["shift"], self.options.shift)
        return erase(pixels, batch["erase"], self.options.erase) if self.options.erase else pixels

    def _blurred_logits(self, seen: Tensor, batch: Batch) -> Tensor:
        logits: Tensor = self.critic(blur(seen, batch["blur"], self.options.blur))[1]
        return logits

    def _domain_loss(self, logits: Tensor, c: Tensor) -> Tensor:
        return self.options.classification * self.columns.loss(logits, c, self.options.smoothing)

    def _fill_unknown(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Labels and targets n x c; the critic reads the unknown ones of a picture's own set."""
        c, c_t = batch["labels"], batch["targets"]
        if not ((c == UNKNOWN) & (self.columns.own(batch["masks"]) == 1)).any():
            return c, c_t  # a target is unknown only where the label is
        with torch.no_grad():
            logits = self.critic(batch["pixels"])[1]
        return self.columns.fill_unknown(c, logits), self.columns.fill_unknown(c_t, logits)

    def _translate(self, x: Tensor, c: Tensor, m: Tensor) -> Tensor:
        """G(x, c~) of equation (7), with labels of other sets 0; a single set has no mask."""
        own = c * self.columns.own(m)
        made: Tensor = self.generator(x, torch.cat([own, m], dim=1) if self.masks else own)
        return made

    def clip_critic(self, terms: Mapping[str, Tensor]) -> None:
        """Clips the critic's weights if the objective needs it."""
        if self.options.game.clipped:
            clip_weights(self.critic, self.options.clip)

    def samples(self, batch: Batch) -> Tensor:
        """Each picture, then its translation to every domain as in the official test.

        The critic reads unknown labels.
        """
        x, c = batch["pixels"], batch["labels"]
        if (c == UNKNOWN).any():
            c = self.columns.fill_unknown(c, self.critic(x)[1])
        made = [self._translate(x, *self.columns.request(c, place)) for place in range(len(self.columns))]
        return torch.stack([x, *made], dim=1)

    def exported(self) -> dict[str, Exported]:
        """The generator, and the critic's classification head, which reads a picture's own labels."""
        return {
            "generator": Exported(
                self.generator,
                inputs=(PIXELS, Input(kind="labels", shape=(len(self.columns) + len(self.masks),))),
                columns=("main.0.weight", 1),
            ),
            "classifier": Exported(
                Classifier(self.critic),
                inputs=(Input(kind="pixels", shape=(3, self.options.size, self.options.size)),),
                outputs=(Output(kind="logits", shape=(len(self.columns),)),),
                columns=("critic.conv2.weight", 0),
            ),
        }

    def manifest(self, name: str, data: Description) -> Manifest:
        """An attribute bundle with a classifier; in a joint training each domain names its mask."""
        return Manifest(
            name=name,
            version="1",
            family=self.name,
            domains=data.domains,
            graphs={name: graph.entry(name) for name, graph in self.exported().items()},
            picture=data.picture,
            classifier="classifier",
            label_order=tuple(domain.name for domain in data.domains),
            mask_columns=data.masks,
            licence="",
            training={"inference": "instance norm, by each picture's own statistics as in training"},
        )


class Classifier(torch.nn.Module):
    """The critic without its patch scores."""

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        # With the critic's own names, which become those of the graph's weights: `pretrained` finds them by name.
        self.critic = torch.nn.ModuleDict({"main": critic.main, "conv2": critic.conv2})

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels n x 3 x size x size to logits n x c."""
        logits: Tensor = self.critic["conv2"](self.critic["main"](pixels))
        return logits.flatten(1)
