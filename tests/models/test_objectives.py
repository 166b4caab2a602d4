"""The objectives agree with numbers computed by hand."""

import math

import pytest
import torch
from torch import Tensor

from models.objectives.classification import attribute_loss
from models.objectives.reconstruction import l1
from models.objectives.wasserstein import critic_loss, generator_loss, gradient_penalty


def test_critic_loss_is_fake_minus_real() -> None:
    """mean(1, 3) - mean(4, 6) = -3."""
    assert critic_loss(torch.tensor([4.0, 6.0]), torch.tensor([1.0, 3.0])).item() == -3


def test_generator_loss_is_the_negated_mean() -> None:
    """-mean(1, 3) = -2."""
    assert generator_loss(torch.tensor([1.0, 3.0])).item() == -2


def test_gradient_penalty_of_a_linear_critic() -> None:
    """A critic w.x has gradient w everywhere, so with |w| = 5 the penalty is (5 - 1)^2 = 16."""
    weight = torch.zeros(1, 3, 2, 2)
    weight[0, 0, 0, 0], weight[0, 2, 1, 1] = 3.0, 4.0

    def critic(pixels: Tensor) -> Tensor:
        return (pixels * weight).flatten(1).sum(1)

    penalty = gradient_penalty(critic, torch.rand(4, 3, 2, 2), torch.rand(4, 3, 2, 2))
    assert penalty.item() == pytest.approx(16, abs=1e-4)


def test_gradient_penalty_sums_over_patches() -> None:
    """A critic that gives each score twice has twice the gradient: (2 - 1)^2 = 1."""

    def critic(pixels: Tensor) -> Tensor:
        return pixels[:, :1, :1, :1].repeat(1, 2, 1, 1)

    assert gradient_penalty(critic, torch.rand(2, 3, 2, 2), torch.rand(2, 3, 2, 2)).item() == pytest.approx(1)


def test_gradient_penalty_reaches_the_critic() -> None:
    """The penalty of s.x is (|s| - 1)^2, and its derivative by s = 3 is 2 (3 - 1) = 4."""
    scale = torch.tensor(3.0, requires_grad=True)
    penalty = gradient_penalty(lambda x: scale * x[:, 0, 0, 0], torch.rand(2, 3, 2, 2), torch.rand(2, 3, 2, 2))
    torch.autograd.backward(penalty)
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(4)


def test_attribute_loss_sums_over_attributes_and_means_over_pictures() -> None:
    """Logits of zero cost log 2 each: two attributes cost 2 log 2 a picture, whatever the batch."""
    assert attribute_loss(torch.zeros(3, 2), torch.ones(3, 2)).item() == pytest.approx(2 * math.log(2))


def test_attribute_loss_of_one_logit() -> None:
    """-log sigmoid(2) = log(1 + e^-2)."""
    loss = attribute_loss(torch.tensor([[2.0]]), torch.tensor([[1.0]]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2)))


def test_l1_is_the_mean_absolute_difference() -> None:
    """mean(|1 - 0|, |0 - 3|) = 2."""
    assert l1(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])).item() == 2
