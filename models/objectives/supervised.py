"""Distances to what is known: to the labels that a picture has or shall have, and to another picture.

Classification gives a loss for each picture, not its mean, since different labels are known of the pictures of a batch;
`known` n x c says which. With `smoothing` labels are moved that far towards knowing nothing (Szegedy et al., CVPR 2016,
section 7): a logit beyond what they say costs again, so that exaggeration is not rewarded.
"""

from torch import Tensor
from torch.nn import functional


def attribute_loss(logits: Tensor, labels: Tensor, known: Tensor, smoothing: float = 0.0) -> Tensor:
    """-sum_i log D_cls(c_i | x) for attributes, each there or not (StarGAN eq. 2 and 3).

    Logits and labels in {0, 1}, both n x c, to n. Summed over attributes as the official code does, not averaged: with
    weight 1 twelve attributes weigh twelve times one.
    """
    smooth = labels * (1 - smoothing) + smoothing / 2
    return (known * functional.binary_cross_entropy_with_logits(logits, smooth, reduction="none")).sum(dim=1)


def class_loss(logits: Tensor, labels: Tensor, known: Tensor, smoothing: float = 0.0) -> Tensor:
    """-log D_cls(c | x) for classes that exclude each other (StarGAN eq. 2 and 3).

    Logits and one-hot labels, both n x c, to n; a picture without any class costs nothing.
    """
    smooth = labels * (1 - smoothing) + labels.sum(dim=1, keepdim=True) * smoothing / logits.shape[1]
    return -(known * smooth * functional.log_softmax(logits, dim=1)).sum(dim=1)


def l1(x: Tensor, y: Tensor) -> Tensor:
    """E[||x - y||_1], the mean over batch and pixels of pictures in [-1, 1] (StarGAN eq. 4; CycleGAN 2; pix2pix 3)."""
    return (x - y).abs().mean()


def l2(x: Tensor, y: Tensor) -> Tensor:
    """E[||x - y||_2^2], the mean over batch and pixels (pix2pix section 3.1, which prefers L1, as it blurs less)."""
    return (x - y).square().mean()
