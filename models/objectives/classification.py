"""Domain classification: how far a critic's logits are from the domains that a picture has or shall have."""

from torch import Tensor
from torch.nn import functional


def attribute_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """-sum_i log D_cls(c_i | x), the mean over the batch (StarGAN eq. 2 and 3 with binary attributes).

    Logits and labels in {0, 1}, both n x c, to a scalar. Summed over attributes as the official code does, not
    averaged: with weight 1 twelve attributes weigh twelve times one.
    """
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / logits.shape[0]
