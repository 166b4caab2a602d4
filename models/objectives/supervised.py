"""Supervised losses: classification by labels, and distances between pictures.

Classification returns a loss for each picture instead of the mean, since pictures of a batch differ in which labels are
known; `known` n x c says which. `smoothing` moves labels that far towards the uniform distribution (Szegedy et al.,
CVPR 2016, section 7): a logit beyond them costs again, so that exaggeration brings no gain.
"""

from torch import Tensor
from torch.nn import functional


def attribute_loss(logits: Tensor, labels: Tensor, known: Tensor, smoothing: float = 0.0) -> Tensor:
    """-sum_i log D_cls(c_i | x) for independent attributes (StarGAN eq. 2 and 3).

    Logits and labels in {0, 1}, both n x c, to n. As in the official code it is the sum over attributes, not the mean:
    with weight 1, twelve attributes weigh twelve times one.
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
    """E[||x - y||_2^2], the mean over batch and pixels (pix2pix section 3.1, which prefers L1 as it blurs less)."""
    return (x - y).square().mean()
