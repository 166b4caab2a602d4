"""The model card of a bundle: what its manifest says, for people."""

import shlex
from typing import Any

from models.bundle.manifest import Manifest


def card(manifest: Manifest) -> str:
    """Markdown: domains, data, how it was trained, figures, limits, licence."""
    imported = "imported_from" in manifest.training
    lines = [
        f"# {manifest.title or manifest.name}",
        "",
        f"A {manifest.family} bundle, version {manifest.version}: pictures of {manifest.picture.size} x "
        f"{manifest.picture.size} pixels, {manifest.precision} weights.",
        "",
        "## Domains",
        "",
        *_domains(manifest),
        "",
        *(_origin(manifest) if imported else _training(manifest)),
        "",
        "## Figures on held-out pictures",
        "",
        *([f"- {name}: {value:.4g}" for name, value in manifest.metrics.items()] or ["Not evaluated."]),
        "",
        "## Limits",
        "",
        *(_imported_limits(manifest) if imported else _trained_limits(manifest)),
        "",
        "## Licence",
        "",
        manifest.licence,
    ]
    return "\n".join(lines) + "\n"


def _training(manifest: Manifest) -> list[str]:
    training = manifest.training
    return [
        "## Training",
        "",
        f"Recipe `{training['recipe']}`, data `{training['data']}` ({training['pictures']} training pictures), "
        f"{training['steps']} steps. Make it again with",
        "",
        *([f"    {training['data_command']}"] if training["data_command"] else []),
        *_trainings(training),
        f"    recast export RUN --to STORE/{manifest.name} --precision {manifest.precision}",
        "",
        f"Inference: {training['inference']}.",
    ]


def _trainings(training: dict[str, Any]) -> list[str]:
    """The commands of a training, one for each of its stages; what a stage changes is said, and no more."""
    lines: list[str] = []
    before: dict[str, object] = {}
    stages = [*training.get("stages", []), {"until": training["steps"], "options": training["options"]}]
    for number, stage in enumerate(stages):
        changed = {key: value for key, value in stage["options"].items() if before.get(key) != value}
        resumed = " --resume" if number else ""
        command = f"    recast train {training['recipe']} --data DATA --out RUN{resumed}"
        until = f"    # until step {stage['until']}" if len(stages) > 1 else ""
        lines += [until] * bool(until) + [command + (" \\" if changed else ""), *_words(changed)]
        before = stage["options"]
    return lines


def _origin(manifest: Manifest) -> list[str]:
    training = manifest.training
    said = ", ".join(f"{name} {value}" for name, value in training["options"].items())
    return [
        "## Origin",
        "",
        f"Imported from {training['imported_from']}; trained elsewhere.",
        "",
        *(
            f"- {name}: `{source['file']}`, {source['summary']}; SHA-256 `{source['sha256']}`"
            for name, source in training["sources"].items()
        ),
        *(["", f"The options beside them: {said}."] if said else []),
    ]


def _trained_limits(manifest: Manifest) -> list[str]:
    part = "the whole picture squeezed to a square" if manifest.picture.crop == "none" else "the centre square"
    limits = [
        f"It was trained on pictures like those of `{manifest.training['data']}`, {part} at {manifest.picture.size} "
        "pixels; other pictures come out as they may."
    ]
    if manifest.classifier:
        limits.append("A picture's own labels are read by the critic's classifier and can be wrong.")
    if manifest.mask_columns:
        limits.append(
            f"The labels of {', '.join(manifest.mask_columns)} were learned from separate pictures: domains of "
            "different sets are applied one after another, each in a pass of its own."
        )
    return limits


def _imported_limits(manifest: Manifest) -> list[str]:
    limits = ["What it was trained on is not in its files; pictures of another kind come out as they may."]
    if manifest.classifier:
        limits.append("A picture's own labels are read by the discriminator's classifier and can be wrong.")
    elif manifest.label_order:
        limits.append("It has no classifier: labels that are not asked for are taken to be absent.")
    return limits


def _domains(manifest: Manifest) -> list[str]:
    grouped = [f"- {group}: {', '.join(d.name for d in members)}" for group, members in manifest.groups.items()]
    alone = [domain.name for domain in manifest.domains if domain.group is None]
    return grouped + ([f"- {', '.join(alone)}"] if alone else [])


def _words(options: dict[str, object]) -> list[str]:
    words = [f"        --set {shlex.quote(f'{key}={value}')}" for key, value in options.items()]
    return [word + " \\" for word in words[:-1]] + words[-1:]
