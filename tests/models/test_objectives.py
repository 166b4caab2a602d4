"""The objectives agree with numbers computed by hand."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor

from models.objectives.adversarial import OBJECTIVES, Objective, gradient_penalty
from models.objectives.diffaugment import blur, erase, shift
from models.objectives.supervised import attribute_loss, class_loss, l1, l2

LOG3 = math.log(3)  # sigmoid(log 3) is 3/4, sigmoid(-log 3) is 1/4

# Scores of real and of made pictures; the discriminator's loss and the generator's, by hand.
BY_HAND: dict[Objective, tuple[list[float], list[float], float, float]] = {
    # -log 3/4 - log(1 - 1/4), and log(1 - 1/4).
    "minimax": ([LOG3], [-LOG3], 2 * math.log(4 / 3), math.log(3 / 4)),
    # The same discriminator, and -log 1/4.
    "vanilla": ([LOG3], [-LOG3], 2 * math.log(4 / 3), math.log(4)),
    # mean(1, 1) + mean(1, 9), and mean(0, 4).
    "lsgan": ([2, 0], [1, 3], 6, 2),
    # mean(1, 3) - mean(4, 6), and -mean(1, 3).
    "wgan": ([4, 6], [1, 3], -3, -2),
    "wgan-gp": ([4, 6], [1, 3], -3, -2),
    # mean(0, 1.5) + mean(0, 3), and -mean(-4, 2).
    "hinge": ([4, -0.5], [-4, 2], 2.25, 1),
}


@pytest.mark.parametrize("name", get_args(Objective))
def test_both_sides_of_a_game_have_the_losses_of_the_paper(name: Objective) -> None:
    """Discriminator and generator lose what the equations say for a few scores."""
    real, fake, discriminator, generator = BY_HAND[name]
    game = OBJECTIVES[name]
    x, made = torch.tensor(real).float(), torch.tensor(fake).float()
    assert game.discriminator(x, made).item() == pytest.approx(discriminator)
    assert game.generator(made).item() == pytest.approx(generator)


def test_every_game_has_a_name_and_only_wasserstein_is_held() -> None:
    """The table holds what an option can name; the penalty is wgan-gp's alone, and clipping wgan's."""
    assert set(OBJECTIVES) == set(get_args(Objective))
    assert [name for name, game in OBJECTIVES.items() if game.penalised] == ["wgan-gp"]
    assert [name for name, game in OBJECTIVES.items() if game.clipped] == ["wgan"]


def test_only_the_saturating_generator_loses_its_gradient() -> None:
    """For a picture with a score of -10 minimax has a gradient of almost 0 and vanilla one of -1."""
    score = torch.tensor([-10.0], requires_grad=True)
    (saturated,) = torch.autograd.grad(OBJECTIVES["minimax"].generator(score), score)
    (strong,) = torch.autograd.grad(OBJECTIVES["vanilla"].generator(score), score)
    assert saturated.item() == pytest.approx(-1 / (1 + math.exp(10)))
    assert strong.item() == pytest.approx(-1, abs=1e-4)


def evenly(n: int) -> Tensor:
    """A mixing factor for each of n pictures."""
    return torch.linspace(0, 1, n)[:, None, None, None]


def test_gradient_penalty_of_a_linear_critic() -> None:
    """A critic w.x has gradient w everywhere, so with |w| = 5 the penalty is (5 - 1)^2 = 16."""
    weight = torch.zeros(1, 3, 2, 2)
    weight[0, 0, 0, 0], weight[0, 2, 1, 1] = 3.0, 4.0

    def critic(pixels: Tensor) -> Tensor:
        return (pixels * weight).flatten(1).sum(1)

    penalty = gradient_penalty(critic, torch.rand(4, 3, 2, 2), torch.rand(4, 3, 2, 2), evenly(4))
    assert penalty.item() == pytest.approx(16, abs=1e-4)


def test_gradient_penalty_lies_between_real_and_made() -> None:
    """The penalty is at mix x + (1 - mix) G(z): between x = 0 and G(z) = 4 that is 3 for a mix of a quarter."""
    asked: list[Tensor] = []

    def critic(pixels: Tensor) -> Tensor:
        asked.append(pixels.detach())
        return pixels.flatten(1).sum(1)

    gradient_penalty(critic, torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 4.0), torch.full((1, 1, 1, 1), 0.25))
    assert asked[0].item() == 3


def test_gradient_penalty_sums_over_patches() -> None:
    """A critic that gives each score twice has twice the gradient: (2 - 1)^2 = 1."""

    def critic(pixels: Tensor) -> Tensor:
        return pixels[:, :1, :1, :1].repeat(1, 2, 1, 1)

    assert gradient_penalty(critic, torch.rand(2, 3, 2, 2), torch.rand(2, 3, 2, 2), evenly(2)).item() == pytest.approx(
        1
    )


def test_gradient_penalty_reaches_the_critic() -> None:
    """The penalty of s.x is (|s| - 1)^2, and its derivative by s = 3 is 2 (3 - 1) = 4."""
    scale = torch.tensor(3.0, requires_grad=True)
    real, fake = torch.rand(2, 3, 2, 2), torch.rand(2, 3, 2, 2)
    torch.autograd.backward(gradient_penalty(lambda x: scale * x[:, 0, 0, 0], real, fake, evenly(2)))
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(4)


def test_attribute_loss_sums_over_attributes() -> None:
    """Logits of zero cost log 2 each, so two attributes cost 2 log 2 for each picture; one of 2 costs log(1 + e^-2)."""
    known = torch.ones(3, 2)
    assert attribute_loss(torch.zeros(3, 2), torch.ones(3, 2), known).tolist() == pytest.approx([2 * math.log(2)] * 3)
    loss = attribute_loss(torch.tensor([[2.0]]), torch.tensor([[1.0]]), known[:1, :1])
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2)))


def test_class_loss_is_the_cross_entropy() -> None:
    """Of three equal classes each costs log 3; logits of log 3, 0 and 0 give the first 3/5; no class costs nothing."""
    logits = torch.tensor([[0.0, 0, 0], [LOG3, 0, 0], [LOG3, 0, 0]])
    labels = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert class_loss(logits, labels, torch.ones(3, 3)).tolist() == pytest.approx([LOG3, math.log(5 / 3), 0])


def test_what_is_not_known_is_not_counted() -> None:
    """Of two attributes at logits of 0 the known one costs log 2, and classes that are not known cost nothing."""
    known = torch.tensor([[1.0, 0.0]])
    assert attribute_loss(torch.zeros(1, 2), torch.ones(1, 2), known).item() == pytest.approx(math.log(2))
    assert class_loss(torch.zeros(1, 2), torch.full((1, 2), 0.5), torch.zeros(1, 2)).item() == 0


def test_smoothing_pays_up_to_a_logit_and_not_beyond() -> None:
    """With 0.1 an attribute costs least at log(0.95 / 0.05), and the first of two classes at that difference."""
    for loss, labels in ((attribute_loss, [[1.0]]), (class_loss, [[1.0, 0.0]])):
        target = torch.tensor(labels)
        logits = torch.zeros_like(target)
        logits[0, 0] = math.log(0.95 / 0.05)
        logits.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(logits, target, torch.ones_like(target), 0.1).sum(), logits)
        assert gradient.tolist() == [pytest.approx([0.0] * len(labels[0]), abs=1e-6)]
        further = loss(logits.detach() * 2, target, torch.ones_like(target), 0.1)
        assert further > loss(logits.detach(), target, torch.ones_like(target), 0.1)


def test_each_picture_loses_a_square_of_its_own() -> None:
    """With a share of 0.5 a square of half the side is 0 in each picture, wholly inside, not always in one place."""
    missing = erase(torch.ones(64, 1, 32, 32), torch.rand(64, 2, generator=seeded()), 0.5)[:, 0] == 0
    for one in missing:
        rows, columns = (one.any(dim=side).nonzero().flatten() for side in (1, 0))
        assert len(rows) == len(columns) == 16
        assert one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert one.sum() == 16 * 16
    assert len({tuple(one.flatten().tolist()) for one in missing}) > 32


def test_a_shift_moves_whole_pixels_and_lets_grey_in() -> None:
    """A quarter of 8 pixels is 2: draws of 0, a half and almost 1 move by 2, not at all, and 2 the other way."""
    picture = torch.arange(1.0, 65).reshape(1, 1, 8, 8)
    made = shift(picture.expand(3, -1, -1, -1), torch.tensor([[0.0, 0.5], [0.5, 0.5], [0.99, 0.99]]), 0.25)
    assert torch.equal(made[0, 0, 2:], picture[0, 0, :6])
    assert not made[0, 0, :2].any()
    assert torch.equal(made[1], picture[0])
    assert torch.equal(made[2, 0, :6, :6], picture[0, 0, 2:, 2:])


def test_a_blur_is_a_gaussian_and_keeps_plain_colours() -> None:
    """A point becomes exp(-d^2 / 2) with sigma 1; a draw of 0 changes nothing, and plain pictures stay."""
    point = torch.zeros(2, 1, 9, 9)
    point[:, 0, 4, 4] = 1
    sharp, soft = blur(point, torch.tensor([[0.0], [0.5]]), 2.0)[:, 0]
    assert torch.allclose(sharp, point[0, 0])
    assert soft[4, 5] / soft[4, 4] == pytest.approx(math.exp(-0.5))
    assert soft[3, 6] / soft[4, 4] == pytest.approx(math.exp(-2.5))
    plain = torch.full((1, 3, 8, 8), 0.3)
    assert torch.allclose(blur(plain, torch.ones(1, 1), 3.0), plain)


@pytest.mark.parametrize("change", [erase, shift, blur])
def test_gradients_pass_what_the_critic_sees(change: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """Gradients reach the made picture through every augmentation."""
    pixels = torch.rand(2, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(change(pixels, torch.full((2, 2 - (change is blur)), 0.4), 0.5).sum(), pixels)
    assert (gradient > 0).float().mean() > 0.5


def seeded() -> torch.Generator:
    """Draws that are the same every time."""
    return torch.Generator().manual_seed(0)


def test_l1_and_l2_are_means_over_all_pixels() -> None:
    """mean(|1 - 0|, |0 - 3|) = 2 and mean(1, 9) = 5."""
    x, y = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])
    assert (l1(x, y).item(), l2(x, y).item()) == (2, 5)
