"""The picture formats, a row each.

A format is recognised by a file's first bytes, never by its name or by what a sender says of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import features


@dataclass(frozen=True)
class Format:
    """A format that is read here, and how it is written if `writes`."""

    name: str
    """As in `format=`."""
    pillow: str
    """Pillow's name of the plugin."""
    media_type: str
    extensions: tuple[str, ...]
    """With the dot; the first is the one to write."""
    writes: bool
    alpha: bool
    """Whether it can hold transparency."""
    lossy: bool
    """Whether `quality` means anything."""
    longest: int
    """The longest side that can be written, in pixels."""
    starts: Callable[[bytes], bool] = field(repr=False, compare=False)
    """Whether these first bytes are this format's."""


def sniff(data: bytes) -> Format | None:
    """The format whose signature the bytes begin with; None if it is not a format that is read here."""
    head = data[:_HEAD]
    return next((format for format in FORMATS if format.starts(head)), None)


def by_name(name: str) -> Format | None:
    """The format of that name (`jpeg`), or of an extension without its dot (`jpg`), in any case."""
    name = name.strip().lower()
    return next((format for format in FORMATS if name == format.name), None) or by_extension(f".{name}")


def by_media_type(media_type: str) -> Format | None:
    """The format of a media type (`image/jpeg`), in any case; parameters after `;` are ignored."""
    name = media_type.partition(";")[0].strip().lower()
    name = _OTHER_MEDIA_TYPES.get(name, name)
    return next((format for format in FORMATS if name == format.media_type), None)


def by_extension(extension: str) -> Format | None:
    """The format of a file extension (`.jpg`), in any case."""
    return next((format for format in FORMATS if extension.strip().lower() in format.extensions), None)


def stem(path: str) -> str:
    """The path without a picture format's extension; any other extension belongs to the name, as in `IMG.2024`."""
    return path[: len(path) - len(extension(path))]


def extension(path: str) -> str:
    """The picture format's extension of a path, with its dot and in its case; empty if it has none."""
    name, dot, last = path.rpartition("/")[2].rpartition(".")
    return dot + last if name and f".{last.lower()}" in _EXTENSIONS else ""


def _begins(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _is_webp(head: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP"


def _is_avif(head: bytes) -> bool:
    # HEIC shares the container and often the major brand mif1; only the list of brands tells them apart.
    if head[4:8] != b"ftyp":
        return False
    brands = head[8 : min(int.from_bytes(head[:4]), len(head))]
    major = brands[:4]
    return major in (b"avif", b"avis") or (major in (b"mif1", b"msf1") and (b"avif" in brands or b"avis" in brands))


def _is_bmp(head: bytes) -> bool:
    # Many a text starts with "BM", too: the length of the header that follows must be one that exists.
    return head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS


_HEAD = 256
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_OTHER_MEDIA_TYPES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "image/x-bmp": "image/bmp",
    "image/tif": "image/tiff",
}

_is_jpeg = _begins(b"\xff\xd8\xff")
_is_png = _begins(b"\x89PNG")
_is_gif = _begins(b"GIF87a", b"GIF89a")
_is_tiff = _begins(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

JPEG = Format("jpeg", "JPEG", "image/jpeg", (".jpg", ".jpeg", ".jpe", ".jfif"), True, False, True, 65_500, _is_jpeg)
PNG = Format("png", "PNG", "image/png", (".png", ".apng"), True, True, False, 1_000_000, _is_png)
WEBP = Format("webp", "WEBP", "image/webp", (".webp",), True, True, True, 16_383, _is_webp)
AVIF = Format("avif", "AVIF", "image/avif", (".avif",), True, True, True, 65_535, _is_avif)
GIF = Format("gif", "GIF", "image/gif", (".gif",), False, True, False, 65_535, _is_gif)
BMP = Format("bmp", "BMP", "image/bmp", (".bmp", ".dib"), False, False, False, 32_767, _is_bmp)
TIFF = Format("tiff", "TIFF", "image/tiff", (".tif", ".tiff"), False, True, False, 65_535, _is_tiff)

_ALL = (JPEG, PNG, WEBP, AVIF, GIF, BMP, TIFF)
# Of all formats: what this installation reads must not decide which names are the same on another one.
_EXTENSIONS = {extension for format in _ALL for extension in format.extensions}

FORMATS: tuple[Format, ...] = tuple(
    format for format in _ALL if format.pillow not in ("WEBP", "AVIF") or features.check(format.name)
)
"""The formats that this installation reads; webp and avif only where Pillow was built with them."""
