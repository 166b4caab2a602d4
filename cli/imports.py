"""`recast import`: checkpoints of other implementations, and ONNX files, as bundles."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli import terminal

if TYPE_CHECKING:
    from models.imports.imported import Imported

app = typer.Typer(
    no_args_is_help=True,
    help="Make a bundle from a checkpoint of a reference implementation, or from an ONNX file.",
)

To = Annotated[Path, typer.Option(help="STORE/NAME, the bundle to write.")]
Precision = Annotated[Literal["fp32", "fp16"], typer.Option(help="Arithmetic of the graphs.")]
Version = Annotated[str, typer.Option(help="The bundle's version.")]
Title = Annotated[str, typer.Option(help="The bundle's name for people.")]
Licence = Annotated[str, typer.Option(help="SPDX identifier or a sentence: the licence of the file and of its data.")]
Samples = Annotated[Path | None, typer.Option(help="A folder of pictures for the page.", show_default="none")]
Side = Annotated[int | None, typer.Option("--image-size", help="Side of the pictures, pixels.", min=8)]
Statistics = Annotated[
    Literal["batch", "running"],
    typer.Option(help="Statistics of norms: those of each picture, as in the official test, or of the training."),
]


@app.command()
def stargan(
    files: Annotated[
        list[Path], typer.Argument(metavar="G.ckpt [D.ckpt]", help="The generator, and its discriminator.")
    ],
    to: To,
    domains: Annotated[
        str | None,
        typer.Option(help="Names in the order of the label columns.", show_default="the published five"),
    ] = None,
    image_size: Side = None,
    precision: Precision = "fp32",
    version: Version = "1",
    title: Title = "",
    licence: Licence = "not stated",
    samples: Samples = None,
) -> None:
    """Import a checkpoint of yunjey/stargan; with the discriminator, the bundle reads a picture's own labels."""
    from models.imports import yunjey

    _import(lambda: yunjey.convert(files, domains, image_size), to, precision, version, title, licence, samples)


@app.command()
def cyclegan(
    files: Annotated[list[Path], typer.Argument(metavar="G_A.pth [G_B.pth]", help="One generator, or both.")],
    domains: Annotated[str, typer.Option(help="The domain that G_A takes, then the one that it makes: horse,zebra.")],
    to: To,
    image_size: Side = None,
    statistics: Statistics = "batch",
    precision: Precision = "fp32",
    version: Version = "1",
    title: Title = "",
    licence: Licence = "not stated",
    samples: Samples = None,
) -> None:
    """Import CycleGAN checkpoints of pytorch-CycleGAN-and-pix2pix."""
    from models.imports import junyanz

    _import(
        lambda: junyanz.convert_cyclegan(files, domains, image_size, statistics),
        to,
        precision,
        version,
        title,
        licence,
        samples,
    )


@app.command()
def pix2pix(
    file: Annotated[Path, typer.Argument(metavar="G.pth", help="The generator.")],
    domains: Annotated[
        str, typer.Option(help="The domain that it makes: photo; or A and B, and --direction says which.")
    ],
    to: To,
    direction: Annotated[
        Literal["AtoB", "BtoA"] | None, typer.Option(help="Which of A and B it makes.", show_default="train_opt.txt")
    ] = None,
    image_size: Side = None,
    statistics: Statistics = "batch",
    precision: Precision = "fp32",
    version: Version = "1",
    title: Title = "",
    licence: Licence = "not stated",
    samples: Samples = None,
) -> None:
    """Import a pix2pix checkpoint of pytorch-CycleGAN-and-pix2pix."""
    from models.imports import junyanz

    _import(
        lambda: junyanz.convert_pix2pix(file, domains, direction, image_size, statistics),
        to,
        precision,
        version,
        title,
        licence,
        samples,
    )


@app.command()
def onnx(
    file: Annotated[Path, typer.Argument(metavar="GRAPH.onnx", help="A graph that turns a picture into a picture.")],
    domains: Annotated[str, typer.Option(help="The domain that it makes: hayao.")],
    to: To,
    layout: Annotated[
        Literal["nchw", "nhwc"] | None, typer.Option(help="Order of its axes.", show_default="found")
    ] = None,
    channels: Annotated[Literal["rgb", "bgr"], typer.Option(help="Order of its colours.")] = "rgb",
    range_: Annotated[
        str | None, typer.Option("--range", help="Its values for black and for white: -1,1.", show_default="found")
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(help="Side of its pictures in pixels, or `free` for any.", show_default="found")
    ] = None,
    precision: Precision = "fp32",
    version: Version = "1",
    title: Title = "",
    licence: Licence = "not stated",
    samples: Samples = None,
) -> None:
    """Import any ONNX graph that turns a picture into a picture."""
    from models.imports import onnx

    _import(
        lambda: onnx.convert(file, domains, onnx.parse_hints(layout, channels, range_, image_size)),
        to,
        precision,
        version,
        title,
        licence,
        samples,
    )


def _import(
    convert: Callable[[], "Imported"],
    to: Path,
    precision: Literal["fp32", "fp16"],
    version: str,
    title: str,
    licence: str,
    samples: Path | None,
) -> None:
    """Converts, prints what it found, and writes the bundle."""
    from models.export.bundle import Facts, bundle_name
    from models.imports.imported import write

    bundle_name(to)  # refuses a folder that can't be a bundle before the work begins
    imported = convert()
    for name, source in imported.sources.items():
        terminal.say(f"{name}: {source.file}: {source.summary}")
    terminal.say(f"domains: {', '.join(domain.name for domain in imported.domains)}; {imported.picture.size} px")
    for name, difference in write(imported, to, precision, Facts(version, title, licence, samples)).items():
        terminal.say(f"{name}: {difference:.3g}{' dB' if name.endswith('fp16') else ''}")
    terminal.say(f"{to} is written")
