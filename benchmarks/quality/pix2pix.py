"""pix2pix's ablations (Isola et al., CVPR 2017, tables 1 to 3): losses, generators and patches, on maps of avatars.

All variants learn to translate label maps into avatars, from the same pairs in the same order. Norms are instance
norms, which equal the paper's batch norms on batches of one picture. At 64 pixels a patch of 16 covers the same share
of a picture as one of 70 at the paper's 256, and a patch of 70 covers all of it.

    recast bench quality/pix2pix [--work DIR] [--steps N] ...
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.quality._exam import Paper, prepare, table
from benchmarks.quality._work import Settings, command, conclude, train
from cli.terminal import Report

USUAL = Settings(Path("runs/quality/pix2pix"), size=64, width=16, steps=4000, batch=4, count=6000, judge_steps=1250)

VARIANTS = {
    "L1": "adversarial=0",
    "GAN": "reconstruction=0 conditional=false",
    "cGAN": "reconstruction=0",
    "L1+GAN": "conditional=false",
    "L1+cGAN": "",
    "encoder-decoder L1": "skips=false adversarial=0",
    "encoder-decoder L1+cGAN": "skips=false",
    "patch 1": "layers=0",
    "patch 16": "layers=1",
}
"""The options of each variant; all others are those of L1+cGAN with a U-Net and patches of 70 pixels."""

PAPER: dict[str, Paper] = {
    "Losses (table 1)": {
        "L1": (0.42, 0.15, 0.11),
        "GAN": (0.22, 0.05, 0.01),
        "cGAN": (0.57, 0.22, 0.16),
        "L1+GAN": (0.64, 0.20, 0.15),
        "L1+cGAN": (0.66, 0.23, 0.17),
        "real avatars": (0.80, 0.26, 0.21),
    },
    "Generators (table 2)": {
        "encoder-decoder L1": (0.35, 0.12, 0.08),
        "encoder-decoder L1+cGAN": (0.29, 0.09, 0.05),
        "L1": (0.48, 0.18, 0.13),
        "L1+cGAN": (0.55, 0.20, 0.14),
    },
    "Patches (table 3)": {
        "patch 1": (0.39, 0.15, 0.10),
        "patch 16": (0.65, 0.21, 0.17),
        "L1+cGAN": (0.66, 0.23, 0.17),
    },
}


def main() -> None:
    """Trains and measures all variants, except finished ones, and prints the tables."""
    command(__doc__, USUAL, partial(compare, VARIANTS))


def compare(variants: Mapping[str, str], settings: Settings, report: Report) -> list[str]:
    """The tables' lines, of some variants with their options."""
    exam = prepare(settings, report)
    found, strips = {"real avatars": exam.score_avatars(exam.avatars)}, [exam.maps]
    for name, options in variants.items():
        subject = train(settings, name, "pix2pix", exam.pairs, f"norm=instance {options}", report)
        made = subject.translate(subject.manifest.domains[0], exam.maps)
        found[name] = exam.score_avatars(made)
        strips.append(made)
    lines = [line for title, paper in PAPER.items() for line in table(title, found, paper)]
    return conclude("pix2pix", settings, lines, [*strips, exam.avatars])


if __name__ == "__main__":
    main()
