"""Small labelled sets in CelebA's layout, whose attributes are plain to see: for trainings that take a second."""

from pathlib import Path

import numpy as np
from PIL import Image

COLUMNS = ("red", "green", "bright")
DOMAINS = "hue=red|green,bright"


def labelled_folder(folder: Path, count: int = 40, size: int = 32, count_line: bool = True) -> Path:
    """Writes `count` pictures: the left half red or green (one of them), the right half bright or dark, plus noise.

    The last tenth is the test part, as list_eval_partition.txt says.
    """
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows: list[str] = []
    parts: list[str] = []
    for number in range(1, count + 1):
        red, bright = bool(number % 2), bool(number // 2 % 2)
        pixels = random.integers(0, 40, (size, size, 3))
        pixels[:, : size // 2, 0 if red else 1] += 180
        pixels[:, size // 2 :] += 180 if bright else 0
        name = f"{number:06d}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name)
        rows.append(" ".join([name, *("1" if value else "-1" for value in (red, not red, bright))]))
        parts.append(f"{name} {2 if number > count * 9 // 10 else 0}")
    head = [str(count)] if count_line else []
    (folder / "list_attr_toy.txt").write_text("\n".join([*head, " ".join(COLUMNS), *rows]) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    (folder / "domains.txt").write_text(DOMAINS + "\n")
    return folder
