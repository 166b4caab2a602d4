"""A history of made pictures, so that a discriminator does not forget what the generator made before."""

import torch
from torch import Tensor


class PicturePool:
    """Up to `size` pictures (Shrivastava et al., CVPR 2017, section 2.3; CycleGAN, section 4, with 50)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pictures: list[Tensor] = []

    def exchange(self, made: Tensor) -> Tensor:
        """Pictures n x 3 x h x w for as many that were made, in turn; drawn from torch's generator of the CPU.

        The new one itself until the pool is full; from then on, every other time, an old one whose place it takes.
        """
        return torch.stack([self._exchange(picture) for picture in made.detach()]) if self.size else made.detach()

    def _exchange(self, picture: Tensor) -> Tensor:
        if len(self.pictures) < self.size:
            self.pictures.append(picture.clone())
            return picture
        if torch.rand(()).item() < 0.5:
            return picture
        place = int(torch.randint(self.size, ()).item())
        old, self.pictures[place] = self.pictures[place], picture.clone()
        return old

    def state(self) -> list[Tensor]:
        """The pictures, for a checkpoint."""
        return list(self.pictures)

    def load_state(self, state: list[Tensor], device: torch.device) -> None:
        """Takes back what `state` gave."""
        self.pictures = [picture.to(device) for picture in state]
