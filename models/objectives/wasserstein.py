"""The Wasserstein objective with gradient penalty; scores are raw, and means run over batch and patches."""

from collections.abc import Callable

import torch
from torch import Tensor


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(x))] - E[D(x)], what the critic minimises (Gulrajani et al. 2017, eq. 3; StarGAN eq. 8).

    Scores of any shape to a scalar.
    """
    return fake.mean() - real.mean()


def generator_loss(fake: Tensor) -> Tensor:
    """-E[D(G(x))], what the generator minimises. Scores of any shape to a scalar."""
    return -fake.mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """E[(||grad D(x^)||_2 - 1)^2] at points x^ drawn evenly between real and fake (Gulrajani et al. 2017, eq. 3).

    Pictures n x 3 x h x w to a scalar, differentiable by the critic's weights. As in StarGAN's official code one
    mixing factor is drawn for each picture, the gradient is that of the sum over all patches, and no epsilon stands
    in the root.
    """
    mix = torch.rand(real.shape[0], 1, 1, 1, device=real.device)
    between = (mix * real + (1 - mix) * fake).requires_grad_()
    scores = critic(between)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    norms: Tensor = gradient.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()
