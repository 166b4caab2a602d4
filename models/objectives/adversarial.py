"""Adversarial objectives by name, and the gradient penalty and weight clipping; any recipe can use any objective.

Scores are raw: discriminators have no sigmoid, so D below is sigmoid(score) where an equation has a logarithm. Means
are over batch and patches. Official pix2pix and CycleGAN code halves the discriminator's loss; here the recipe does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))], the discriminator's loss (Goodfellow et al. 2014, eq. 1).

    Scores of any shape to a scalar; -log sigmoid(s) is softplus(-s).
    """
    return softplus(-real).mean() + softplus(fake).mean()


def minimax(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))], the generator's loss of the original game (Goodfellow et al. 2014, eq. 1).

    Scores of any shape to a scalar. Its gradient vanishes where the discriminator is sure, so it is hardly used.
    """
    return -softplus(fake).mean()


def non_saturating(fake: Tensor) -> Tensor:
    """-E[log D(G(z))], the generator's loss with a strong gradient (Goodfellow et al. 2014, section 3).

    Scores of any shape to a scalar. The official pix2pix code calls this objective `vanilla`.
    """
    return softplus(-fake).mean()


def least_squares(real: Tensor, fake: Tensor) -> Tensor:
    """E[(D(x) - 1)^2] + E[D(G(z))^2], the discriminator's loss (Mao et al. 2017, eq. 9 with b = c = 1, a = 0).

    Scores of any shape to a scalar. The paper has a factor of one half, CycleGAN's equations have none.
    """
    return (real - 1).square().mean() + fake.square().mean()


def least_squares_generator(fake: Tensor) -> Tensor:
    """E[(D(G(z)) - 1)^2], the generator's loss (Mao et al. 2017, eq. 9). Scores of any shape to a scalar."""
    return (fake - 1).square().mean()


def wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(z))] - E[D(x)], the critic's loss (Arjovsky et al. 2017, eq. 2; Gulrajani et al. 2017, eq. 3).

    Scores of any shape to a scalar. It estimates a distance only while the critic's slope has a bound, by clipped
    weights or by a gradient penalty.
    """
    return fake.mean() - real.mean()


def negated_score(fake: Tensor) -> Tensor:
    """-E[D(G(z))], the generator's loss of the Wasserstein and hinge objectives. Scores of any shape to a scalar."""
    return -fake.mean()


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))], the discriminator's loss (Lim and Ye 2017; Miyato et al. 2018).

    Scores of any shape to a scalar.
    """
    return relu(1 - real).mean() + relu(1 + fake).mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E[(||grad D(x^)||_2 - 1)^2] at x^ = mix x + (1 - mix) G(z) (Gulrajani et al. 2017, eq. 3; StarGAN eq. 8).

    Pictures n x c x h x w and `mix` n x 1 x 1 x 1, uniform in [0, 1), to a scalar, differentiable in the critic's
    weights. As in StarGAN's official code it is the gradient of the sum over all patches, without an epsilon in the
    root; the helper in CycleGAN's and pix2pix's official code adds 1e-16 to the gradient.
    """
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    with torch.compiler.set_stance("force_eager"):  # torch.compile's kernels have no second derivative
        scores = critic(between)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    norms: Tensor = gradient.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Clips every weight to [-bound, bound] in place (Arjovsky et al. 2017, algorithm 1)."""
    for parameter in network.parameters():
        parameter.clamp_(-bound, bound)


@dataclass(frozen=True)
class Adversarial:
    """The losses of both players, and which bound the discriminator's slope needs."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    penalised: bool = False
    """Whether a gradient penalty belongs to the discriminator's loss."""
    clipped: bool = False
    """Whether the discriminator's weights are clipped after each of its steps."""


Objective = Literal["minimax", "vanilla", "lsgan", "wgan", "wgan-gp", "hinge"]

OBJECTIVES: dict[Objective, Adversarial] = {
    "minimax": Adversarial(cross_entropy, minimax),
    "vanilla": Adversarial(cross_entropy, non_saturating),
    "lsgan": Adversarial(least_squares, least_squares_generator),
    "wgan": Adversarial(wasserstein, negated_score, clipped=True),
    "wgan-gp": Adversarial(wasserstein, negated_score, penalised=True),
    "hinge": Adversarial(hinge, negated_score),
}
