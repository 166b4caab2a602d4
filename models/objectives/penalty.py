"""The gradient penalty that holds a critic's slope near 1."""

from collections.abc import Callable

import torch
from torch import Tensor


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
