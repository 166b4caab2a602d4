"""The record of a training for people: metrics.jsonl, TensorBoard events and grids of samples."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from models.bundle.manifest import Picture
from models.bundle.pixels import to_pixels


class History:
    """Writes the record of a run; a resumed run first removes the log lines after its checkpoint."""

    def __init__(self, folder: Path, start: int) -> None:
        self.folder = folder
        self._path = folder / "metrics.jsonl"
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True) if self._path.exists() else []
        # Whole lines only: a kill may have cut the last one short.
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= start]
        self._path.write_text("".join(kept), encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes one line, and one point for each metric."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)

    def show(self, step: int, samples: Tensor, picture: Picture) -> None:
        """Writes pictures rows x columns x 3 x h x w as one grid."""
        self.folder.joinpath("samples").mkdir(exist_ok=True)
        grid(samples, picture).save(self.folder / "samples" / f"{step:08d}.png")

    def close(self) -> None:
        """Flushes and closes both files."""
        self._file.close()
        self._board.close()


def grid(samples: Tensor, picture: Picture) -> Image.Image:
    """Pictures rows x columns x 3 x h x w in the picture's range, edge to edge."""
    rows, columns = samples.shape[:2]
    tiles = to_pixels(samples.detach().flatten(0, 1).float().cpu().numpy(), picture)
    height, width = tiles.shape[1:3]
    arranged = tiles.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(np.ascontiguousarray(arranged.reshape(rows * height, columns * width, 3)))
