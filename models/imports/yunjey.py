"""StarGAN checkpoints of yunjey/stargan, the official code: the generator, and the discriminator for its classifier.

The files hold only weights, so the user must name the domain of each label column, in the order of the training's
`--selected_attrs`. The running statistics of the instance norms are left out, as the official test never reads them. A
joint training appends a mask, one column for each data set.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from models.bundle.manifest import Domain, Picture
from models.bundle.ports import PIXELS, Input, Output
from models.data.tables import parse_domains
from models.errors import CheckpointError, OptionsError
from models.imports.checkpoint import STARGAN_DISCRIMINATOR, STARGAN_GENERATOR, Checkpoint, fill, read
from models.imports.imported import CLASSIFIER, Imported, check
from models.networks.stargan import Critic, Generator
from models.recipes.recipe import Exported
from models.recipes.stargan import Classifier

DOMAINS = "Black_Hair,Blond_Hair,Brown_Hair,Male,Young"
"""The attributes of the published checkpoints, in the order of their columns."""

_UNUSED = r"main\.(\d+\.main\.)?\d+\.running_(mean|var)"
_SIZE, _MULTIPLE = 128, 4
# The hair colours, of which the official test gives a picture only one.
_HAIR = ("black-hair", "blond-hair", "brown-hair", "gray-hair", "grey-hair")
_ALIASES = {
    "blond-hair": ("blonde", "blonde-hair"),
    "gray-hair": ("grey", "grey-hair"),
    "eyeglasses": ("glasses",),
    "smiling": ("smile",),
    "mustache": ("moustache",),
}


def convert(files: Sequence[Path], domains: str | None, size: int | None) -> Imported:
    """The bundle of a generator and, if given, its discriminator, in any order.

    domains: names in the order of the label columns, `hair=Black_Hair|Blond_Hair,Male`; None takes the published five
    if the generator has five columns. `+` separates the sets of a joint training, `Male,Young+angry,happy`. size: the
    side of the training's pictures, in pixels; None takes the discriminator's, or 128. Raises ModelErrors.
    """
    checkpoint, discriminator = _generator_and_discriminator([read(path) for path in files])
    columns = checkpoint.shape("main.0.weight")[1] - 3
    if not domains and columns != len(DOMAINS.split(",")):
        raise OptionsError(
            f"the generator has {columns} label columns, and no file says what they mean: "
            "name them with --domains, in the order of the training's --selected_attrs"
        )
    chosen, masks = label_columns(domains or DOMAINS, columns)
    side = _side(discriminator) if discriminator else size or _SIZE
    if size not in (None, side):
        raise OptionsError(f"image size is {size}, but the discriminator takes {side}; leave the option out")
    if side % _MULTIPLE:
        raise OptionsError(f"image size {side} is no multiple of {_MULTIPLE}, which a StarGAN generator needs")
    picture = Picture(size=side, multiple=_MULTIPLE, free=True, resize="bilinear", crop="centre")
    networks = {"generator": generator(checkpoint)}
    sources = {"generator": checkpoint}
    if discriminator is not None:
        networks[CLASSIFIER] = classifier(discriminator, len(chosen))
        sources[CLASSIFIER] = discriminator
    return Imported(
        family="stargan",
        domains=chosen,
        picture=picture,
        graphs={name: check(name, exported, picture) for name, (exported, _) in networks.items()},
        origin="checkpoints as yunjey/stargan saves them",
        sources={name: sources[name].source(summary) for name, (_, summary) in networks.items()},
        masks=masks,
    )


def _generator_and_discriminator(checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, Checkpoint | None]:
    kinds: dict[str, Checkpoint] = {}
    for checkpoint in checkpoints:
        if checkpoint.kind not in (STARGAN_GENERATOR, STARGAN_DISCRIMINATOR):
            raise CheckpointError(f"{checkpoint.path} holds {checkpoint.kind}; {STARGAN_GENERATOR} is needed")
        if checkpoint.kind in kinds:
            raise CheckpointError(f"{kinds[checkpoint.kind].path} and {checkpoint.path} both hold {checkpoint.kind}")
        kinds[checkpoint.kind] = checkpoint
    if STARGAN_GENERATOR not in kinds:
        raise CheckpointError(f"{checkpoints[0].path} holds {STARGAN_DISCRIMINATOR} alone; give its generator as well")
    return kinds[STARGAN_GENERATOR], kinds.get(STARGAN_DISCRIMINATOR)


def generator(checkpoint: Checkpoint) -> tuple[Exported, str]:
    """The generator of a checkpoint and its summary; CheckpointError where keys don't fit."""
    width, inputs = checkpoint.shape("main.0.weight")[:2]
    blocks = len(checkpoint.numbers(r"main\.(\d+)\.main\.0\.weight"))
    network = Generator(inputs - 3, width, blocks)
    fill(network, checkpoint, unused=_UNUSED)
    summary = f"{blocks} blocks, width {width}, {inputs - 3} label columns"
    labels = Input(kind="labels", shape=(inputs - 3,))
    return Exported(network.eval().requires_grad_(False), inputs=(PIXELS, labels)), summary


def classifier(checkpoint: Checkpoint, labels: int) -> tuple[Exported, str]:
    """The discriminator's classification head and its summary; CheckpointError where it has other labels."""
    outputs = checkpoint.shape("conv2.weight")[0]
    if outputs != labels:
        raise CheckpointError(
            f"{checkpoint.path} classifies {outputs} domains, the generator makes {labels}; they are of two trainings"
        )
    width, layers, side = checkpoint.shape("main.0.weight")[0], _layers(checkpoint), _side(checkpoint)
    network = Critic(outputs, side, width, layers)
    fill(network, checkpoint)
    summary = f"{layers} layers, width {width}, {outputs} domains, {side} pixels"
    exported = Exported(
        Classifier(network.eval().requires_grad_(False)),
        inputs=(Input(kind="pixels", shape=(3, side, side)),),
        outputs=(Output(kind="logits", shape=(outputs,)),),
    )
    return exported, summary


def _layers(checkpoint: Checkpoint) -> int:
    return len(checkpoint.numbers(r"main\.(\d+)\.weight"))


def _side(discriminator: Checkpoint) -> int:
    """The side of its pictures: each layer halves it, and the head spans the rest."""
    left: int = discriminator.shape("conv2.weight")[-1]
    return left << _layers(discriminator)


def label_columns(text: str, columns: int) -> tuple[tuple[Domain, ...], tuple[str, ...]]:
    """The domains by column, and the names of the mask columns of a joint training."""
    sets = [parse_domains(part) for part in text.split("+")]
    masks = tuple(f"set-{number}" for number in range(1, len(sets) + 1)) if len(sets) > 1 else ()
    # The first set of a joint training has attributes; each other set has classes, which exclude each other.
    hair = [domain.name for domain in sets[0] if domain.name in _HAIR]
    grouped = [_in_group(sets[0], hair, "hair")]
    grouped += [
        _in_group(part, [domain.name for domain in part], mask) for part, mask in zip(sets[1:], masks[1:], strict=True)
    ]
    placed = [(domain, mask) for part, mask in zip(grouped, masks or (None,), strict=True) for domain in part]
    if len(placed) + len(masks) != columns:
        raise OptionsError(
            f"the generator has {columns} label columns, but --domains names {len(placed)}"
            f"{f' in {len(masks)} sets, which take a column each' if masks else ''}: "
            "name every column in order; separate the sets of a joint training with +"
        )
    twice = [name for name, count in Counter(domain.name for domain, _ in placed).items() if count > 1]
    if twice:
        raise OptionsError(f"--domains names {', '.join(twice)} in two sets; give each column a name of its own")
    names = Counter(name for domain, _ in placed for name in (domain.name, *_short_names(domain.name)))
    return tuple(
        domain.model_copy(
            update={
                "column": column,
                "mask": mask,
                # The short names that no other domain has.
                "aliases": tuple(short for short in _short_names(domain.name) if names[short] == 1),
            }
        )
        for column, (domain, mask) in enumerate(placed)
    ), masks


def _in_group(domains: tuple[Domain, ...], members: Sequence[str], group: str) -> tuple[Domain, ...]:
    """The domains with `members` as a group, unless there are less than two or the user named groups."""
    if len(members) < 2 or any(domain.group for domain in domains):
        return domains
    return tuple(domain.model_copy(update={"group": group}) if domain.name in members else domain for domain in domains)


def _short_names(name: str) -> tuple[str, ...]:
    """What people type for CelebA's attributes: `black` for `black-hair`, `hat` for `wearing-hat`."""
    short = name.removesuffix("-hair").removeprefix("wearing-")
    return ((short,) if short != name else ()) + _ALIASES.get(name, ())
