"""What discriminator and generator play for, by name, and what holds a critic's slope; any recipe takes any of them.

Scores are raw: no sigmoid stands in a discriminator, so D below is sigmoid(score) where an equation has a logarithm.
Means run over batch and patches. Official pix2pix and CycleGAN code halves what the discriminator minimises; that is
the recipe's to do, not done here.
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
    """E[log(1 - D(G(z)))], the generator's loss as the game is written (Goodfellow et al. 2014, eq. 1).

    Scores of any shape to a scalar. Its gradient vanishes where the discriminator is sure, so hardly any code uses it.
    """
    return -softplus(fake).mean()


def non_saturating(fake: Tensor) -> Tensor:
    """-E[log D(G(z))], the generator's loss with a strong gradient (Goodfellow et al. 2014, section 3).

    Scores of any shape to a scalar. The official pix2pix code calls this game `vanilla`.
    """
    return softplus(-fake).mean()


def least_squares(real: Tensor, fake: Tensor) -> Tensor:
    """E[(D(x) - 1)^2] + E[D(G(z))^2], the discriminator's loss (Mao et al. 2017, eq. 9 with b = c = 1, a = 0).

    Scores of any shape to a scalar; the paper has a factor of one half, CycleGAN's equations have none.
    """
    return (real - 1).square().mean() + fake.square().mean()


def towards_one(fake: Tensor) -> Tensor:
    """E[(D(G(z)) - 1)^2], the generator's loss (Mao et al. 2017, eq. 9). Scores of any shape to a scalar."""
    return (fake - 1).square().mean()


def wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(z))] - E[D(x)], the critic's loss (Arjovsky et al. 2017, eq. 2; Gulrajani et al. 2017, eq. 3).

    Scores of any shape to a scalar. It estimates a distance only while the critic's slope is held: by clipping its
    weights after each step, or by a gradient penalty.
    """
    return fake.mean() - real.mean()


def raised(fake: Tensor) -> Tensor:
    """-E[D(G(z))], the generator's loss of the Wasserstein and hinge games. Scores of any shape to a scalar."""
    return -fake.mean()


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))], the discriminator's loss (Lim and Ye 2017; Miyato et al. 2018).

    Scores of any shape to a scalar.
    """
    return relu(1 - real).mean() + relu(1 + fake).mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E[(||grad D(x^)||_2 - 1)^2] at x^ = mix x + (1 - mix) G(z) (Gulrajani et al. 2017, eq. 3; StarGAN eq. 8).

    Pictures n x c x h x w and `mix` n x 1 x 1 x 1, drawn evenly from [0, 1), to a scalar that is differentiable by the
    critic's weights. As in StarGAN's official code the gradient is that of the sum over all patches, and no epsilon
    stands in the root; the helper in CycleGAN's and pix2pix's official code adds 1e-16 to the gradient.
    """
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    with torch.compiler.set_stance("force_eager"):  # kernels of torch.compile can't be differentiated twice
        scores = critic(between)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    norms: Tensor = gradient.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Brings every weight back into [-bound, bound] (Arjovsky et al. 2017, algorithm 1)."""
    for parameter in network.parameters():
        parameter.clamp_(-bound, bound)


@dataclass(frozen=True)
class Adversarial:
    """A game of two: each side's loss, and what must hold the discriminator's slope besides."""

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
    "lsgan": Adversarial(least_squares, towards_one),
    "wgan": Adversarial(wasserstein, raised, clipped=True),
    "wgan-gp": Adversarial(wasserstein, raised, penalised=True),
    "hinge": Adversarial(hinge, raised),
}
