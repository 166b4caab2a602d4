"""Domain classification: how far a critic's logits are from the domains that a picture has or shall have.

Both give a loss for each picture, not its mean, since different labels are known of the pictures of a batch; `known`
n x c says which. With `smoothing` labels are moved that far towards knowing nothing (Szegedy et al., CVPR 2016, section
7): a logit beyond what they say costs again, so that nobody is paid for exaggerating.
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
