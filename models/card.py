"""The model card of a bundle: what its manifest says, for people."""

from models.bundle.manifest import Manifest


def card(manifest: Manifest) -> str:
    """Markdown: domains, data, how it was trained, figures, limits, licence."""
    training = manifest.training
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
        "## Training",
        "",
        f"Recipe `{training['recipe']}`, data `{training['data']}` ({training['pictures']} training pictures), "
        f"{training['steps']} steps. Make it again with",
        "",
        *([f"    {training['data_command']}"] if training["data_command"] else []),
        f"    recast train {training['recipe']} --data DATA --out RUN" + (" \\" if training["options"] else ""),
        *_words(training["options"]),
        f"    recast export RUN --to STORE/{manifest.name} --precision {manifest.precision}",
        "",
        "## Figures on held-out pictures",
        "",
        *([f"- {name}: {value:.4g}" for name, value in manifest.metrics.items()] or ["Not evaluated."]),
        "",
        "## Limits",
        "",
        f"It was trained on pictures like those of `{training['data']}`, the centre square at "
        f"{manifest.picture.size} pixels; other pictures come out as they may. A picture's own labels are read by the "
        "critic's classifier and can be wrong.",
        "",
        "## Licence",
        "",
        manifest.licence,
    ]
    return "\n".join(lines) + "\n"


def _domains(manifest: Manifest) -> list[str]:
    grouped = [f"- {group}: {', '.join(d.name for d in members)}" for group, members in manifest.groups.items()]
    alone = [domain.name for domain in manifest.domains if domain.group is None]
    return grouped + ([f"- {', '.join(alone)}"] if alone else [])


def _words(options: dict[str, object]) -> list[str]:
    words = [f"        --set {key}={value}" for key, value in options.items()]
    return [word + " \\" for word in words[:-1]] + words[-1:]
