"""StarGAN's own choices: targets, schedule, options."""

from typing import cast

import torch
from support.data import DOMAINS
from torch import Tensor

from models.bundle.manifest import Picture
from models.data.data import Description
from models.data.labelled import parse_domains
from models.recipes.stargan import StarGAN, StarGANOptions, targets


def description() -> Description:
    return Description(name="toy", domains=parse_domains(DOMAINS), picture=Picture(size=32), count=8)


def recipe(**options: float | str) -> StarGAN:
    small = {"size": 32, "width": 4, "blocks": 1, "critic_width": 4, "critic_layers": 3}
    return StarGAN.create(StarGANOptions.model_validate(small | options), description())


LABELS = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 1]])


def test_targets_are_a_permutation_of_the_batch() -> None:
    """With keep=0, the paper's way, every target is some picture's label vector, each used once."""
    made = recipe()._targets(LABELS)
    assert sorted(made.tolist()) == sorted(LABELS.tolist())


def test_kept_groups_stay_whole() -> None:
    """With keep near 1 no target ever mixes two labels within a group, and most are the picture's own."""
    torch.manual_seed(0)
    made = torch.cat([recipe(keep=0.9)._targets(LABELS) for _ in range(50)])
    assert (made[:, :2].sum(1) == 1).all()
    assert (made == LABELS.repeat(50, 1)).float().mean() > 0.8


def test_asking_for_a_group_member_switches_its_fellows_off() -> None:
    """Green is set where red was; an attribute outside of the group is turned over alone."""
    assert targets(LABELS, description().domains, 1)[:, :2].tolist() == [[0, 1]] * 4
    assert targets(LABELS, description().domains, 2)[:, 2].tolist() == [0, 1, 1, 0]


def test_linear_decay_falls_to_zero_from_its_begin() -> None:
    """Rate 1 up to half of the steps, one half at three quarters, zero at the end."""
    made = recipe(steps=100)
    assert [made.rate(step) for step in (0, 49, 75, 100)] == [1, 1, 0.5, 0]


def test_official_decay_hardly_moves() -> None:
    """The official code takes lr/100,000 off each thousandth step after the 100,000th: 9.99e-5 remains of 1e-4."""
    made = recipe(steps=200_000, decay="official")
    assert made.rate(100_999) == 1
    assert made.rate(200_000) == 1 - 100 / 100_000


def test_generator_waits_for_the_warm_up_and_comes_on_every_nth_step() -> None:
    """With 3 steps of warm-up and every second step its own, the generator moves at steps 3, 5 and 7."""
    critic, generator = recipe(warmup=3, generator_every=2).phases
    assert [step for step in range(8) if generator.due(step)] == [3, 5, 7]
    assert all(critic.due(step) for step in range(8))


def test_published_defaults() -> None:
    """A training without options is the published one."""
    options = StarGANOptions.model_validate({})
    published = (128, 16, 200_000, 64, 6, 5, 1e-4, 1.0, 10.0, 10.0, False, 0, 0.0, 0.0)
    assert published == (
        options.size, options.batch, options.steps, options.width, options.blocks, options.generator_every,
        options.rate, options.classification, options.reconstruction, options.penalty,
        options.mask, options.warmup, options.keep, options.identity,
    )  # fmt: skip


def test_a_closed_mask_lets_the_picture_through() -> None:
    """With the mask shut the picture comes back to the bit; wide open, the painted one comes out."""
    generator = recipe(mask=True).generator
    assert generator.mask is not None
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    torch.nn.init.constant_(cast(Tensor, generator.mask.bias), -200.0)
    assert torch.equal(generator(pixels, LABELS[:2]), pixels)
    torch.nn.init.constant_(cast(Tensor, generator.mask.bias), 200.0)
    painted = generator.main(torch.cat([pixels, LABELS[:2, :, None, None].expand(-1, -1, 32, 32)], dim=1))
    assert torch.equal(generator(pixels, LABELS[:2]), painted)
