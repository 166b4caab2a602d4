"""What is done to all weights of a network at once: the official initialisation, and WGAN's clipping."""

import torch
from torch import nn


def initialise(network: nn.Module, deviation: float = 0.02) -> None:
    """Draws convolutions from N(0, deviation) and batch norms' scales from N(1, deviation); biases become 0.

    As CycleGAN (appendix 7.1), pix2pix (section 6.2) and their official code do, after DCGAN (Radford et al. 2016).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, deviation)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, deviation)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@torch.no_grad()
def clip(network: nn.Module, bound: float) -> None:
    """Brings every weight back into [-bound, bound] (Arjovsky et al. 2017, algorithm 1)."""
    for parameter in network.parameters():
        parameter.clamp_(-bound, bound)
