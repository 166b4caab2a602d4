"""CycleGAN's ablation (Zhu et al., ICCV 2017, tables 4 and 5): cycle and adversarial terms, on maps of avatars.

All variants learn to translate label maps (A) into avatars (B) and back, from maps of one half of the people and
avatars of the other half. Held-out people have both, so both directions can be measured. The forward cycle goes from a
map to an avatar and back. There is no identity term, as in the paper's experiments on Cityscapes.

    recast bench quality/cyclegan [--work DIR] [--steps N] ...
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.quality._drawn import write_unpaired
from benchmarks.quality._exam import Paper, Scores, prepare, table
from benchmarks.quality._work import Settings, command, conclude, train
from cli.terminal import Report

USUAL = Settings(
    Path("runs/quality/cyclegan"),
    size=48, width=24, steps=2500, batch=2, count=6000, judge_steps=1250, precision="bf16-mixed",
)  # fmt: skip

VARIANTS = {
    "cycle alone": "adversarial=0",
    "GAN alone": "cycle_a=0 cycle_b=0",
    "GAN + forward": "cycle_b=0",
    "GAN + backward": "cycle_a=0",
    "CycleGAN": "",
}
"""The options of each variant; all others are those of CycleGAN."""

TO_AVATARS: Paper = {
    "cycle alone": (0.22, 0.07, 0.02),
    "GAN alone": (0.51, 0.11, 0.08),
    "GAN + forward": (0.55, 0.18, 0.12),
    "GAN + backward": (0.39, 0.14, 0.06),
    "CycleGAN": (0.52, 0.17, 0.11),
    "real avatars": None,
}
TO_MAPS: Paper = {
    "cycle alone": None,
    "GAN alone": (0.53, 0.11, 0.07),
    "GAN + forward": None,
    "GAN + backward": (0.01, 0.06, 0.01),
    "CycleGAN": (0.58, 0.22, 0.16),
}


def main() -> None:
    """Trains and measures all variants, except finished ones, and prints the tables."""
    command(__doc__, USUAL, partial(compare, VARIANTS))


def compare(variants: Mapping[str, str], settings: Settings, report: Report) -> list[str]:
    """The tables' lines, of some variants with their options."""
    exam = prepare(settings, report)
    data = settings.work / "data" / "unpaired"
    if not data.exists():
        write_unpaired(data, exam.pairs)
    avatars, maps = {"real avatars": exam.score_avatars(exam.avatars)}, dict[str, Scores]()
    there, back = [exam.maps], [exam.avatars]
    for name, options in variants.items():
        subject = train(settings, name, "cyclegan", data, f"identity=0 blocks=6 {options}", report)
        to_map, to_avatar = subject.manifest.domains
        there.append(subject.translate(to_avatar, exam.maps))
        back.append(subject.translate(to_map, exam.avatars))
        avatars[name], maps[name] = exam.score_avatars(there[-1]), exam.score_maps(back[-1])
    lines = [
        *table("Maps to avatars (table 4)", avatars, TO_AVATARS),
        *table("Avatars to maps (table 5)", maps, TO_MAPS),
    ]
    return conclude("cyclegan", settings, lines, [*there, exam.avatars, *back[1:], exam.maps])


if __name__ == "__main__":
    main()
