"""The model card of a bundle: its manifest in words, for people who choose or check a model."""

import shlex

from models.bundle.manifest import Manifest


def card(manifest: Manifest) -> str:
    """Markdown: task, graphs, domains, how it was trained, figures, limits, licence."""
    imported = "imported_from" in manifest.training
    domains = [f"- {group}: {', '.join(d.name for d in members)}" for group, members in manifest.groups.items()]
    if alone := [domain.name for domain in manifest.domains if domain.group is None]:
        domains.append(f"- {', '.join(alone)}")
    lines = [
        f"# {manifest.title or manifest.name}",
        "",
        f"A {manifest.family} bundle, version {manifest.version}. Its task is to {manifest.task}; pictures of "
        f"{manifest.picture.size} x {manifest.picture.size} pixels, {manifest.precision} weights.",
        "",
        "## Graphs",
        "",
        *_graphs(manifest),
        "",
        *(["## Domains", "", *domains, ""] if domains else []),
        *(_origin(manifest) if imported else _training(manifest)),
        "",
        "## Figures on held-out pictures",
        "",
        *([f"- {name}: {value:.4g}" for name, value in manifest.metrics.items()] or ["Not evaluated."]),
        "",
        "## Limits",
        "",
        *_limits(manifest),
        "",
        "## Licence",
        "",
        manifest.licence,
    ]
    return "\n".join(lines) + "\n"


def _training(manifest: Manifest) -> list[str]:
    """How to repeat the training: a command for each stage, which names only the options that it changes."""
    training = manifest.training
    commands: list[str] = []
    before: dict[str, object] = {}
    stages = [*training.get("stages", []), {"until": training["steps"], "options": training["options"]}]
    for number, stage in enumerate(stages):
        changed = {key: value for key, value in stage["options"].items() if before.get(key) != value}
        command = f"    recast train {training['recipe']} --data DATA --out RUN{' --resume' if number else ''}"
        words = [command, *(f"        --set {shlex.quote(f'{key}={value}')}" for key, value in changed.items())]
        if len(stages) > 1:
            commands.append(f"    # until step {stage['until']}")
        commands.append(" \\\n".join(words))
        before = stage["options"]
    return [
        "## Training",
        "",
        f"Recipe `{training['recipe']}`, data `{training['data']}` ({training['pictures']} training pictures), "
        f"{training['steps']} steps. Make it again with",
        "",
        *([f"    {training['data_command']}"] if training["data_command"] else []),
        *commands,
        f"    recast export RUN --to STORE/{manifest.name} --precision {manifest.precision}",
        *(["", f"Inference: {training['inference']}."] if "inference" in training else []),
    ]


def _origin(manifest: Manifest) -> list[str]:
    training = manifest.training
    options = ", ".join(f"{name} {value}" for name, value in training["options"].items())
    return [
        "## Origin",
        "",
        f"Imported from {training['imported_from']}; trained elsewhere.",
        "",
        *(
            f"- {name}: `{source['file']}`, {source['summary']}; SHA-256 `{source['sha256']}`"
            for name, source in training["sources"].items()
        ),
        *(["", f"The options beside them: {options}."] if options else []),
    ]


def _limits(manifest: Manifest) -> list[str]:
    if "imported_from" in manifest.training:
        limits = ["Its files do not say what it was trained on; with pictures of another kind, expect errors."]
    else:
        part = "the whole picture squeezed to a square" if manifest.picture.crop == "none" else "the centre square"
        takes = any(graph.takes("pixels") for graph in manifest.graphs.values())
        other = "with any other picture, expect errors" if takes else "it makes no pictures of another kind"
        limits = [
            f"It was trained on pictures like those of `{manifest.training['data']}`, {part} at "
            f"{manifest.picture.size} pixels; {other}."
        ]
    if manifest.classifier:
        limits.append("A picture's own labels are read by a classifier, which can be wrong.")
    elif manifest.label_order and manifest.task == "translate":
        limits.append("It has no classifier: labels that a request does not name are taken to be absent.")
    if manifest.mask_columns:
        limits.append(
            f"The labels of {', '.join(manifest.mask_columns)} were learned from separate pictures: domains of "
            "different sets are applied one after another, each in a pass of its own."
        )
    return limits


def _graphs(manifest: Manifest) -> list[str]:
    """Each graph's inputs and outputs, with the axes after the batch."""
    lines = []
    for name, graph in manifest.graphs.items():
        takes, gives = (
            ", ".join(
                f"{port.kind} {' x '.join(str(length or 'any') for length in manifest.picture.row(port))}"
                for port in ports
            )
            for ports in (graph.inputs, graph.outputs)
        )
        lines.append(f"- {name}: {takes} to {gives}")
    if manifest.latent is not None:
        lines += ["", f"Latents are drawn from a {manifest.latent.distribution} distribution."]
    if manifest.text is not None:
        lines += ["", f"Text has at most {manifest.text.longest} bytes in {manifest.text.encoding}."]
    if manifest.score is not None:
        share = f"{100 * manifest.score.quantile:g} %"
        lines += [
            "",
            f"A picture with a score above {manifest.score.threshold:.4g} counts as strange; {share} of held-out "
            "ordinary pictures have no higher one.",
        ]
    return lines
