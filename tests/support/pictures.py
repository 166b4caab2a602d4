"""Awkward pictures for tests, made by Pillow or by hand; nothing here is random without a seed."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

ORIENTATIONS = range(1, 9)


def scene(width: int = 24, height: int = 16) -> Image.Image:
    """An RGB picture without any symmetry: a gradient each way and a red mark at the top left."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 40
    pixels[..., 1] = np.linspace(0, 255, width).astype(np.uint8)
    pixels[..., 2] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    pixels[: height // 4, : width // 4] = (250, 10, 10)
    return Image.fromarray(pixels)


def noise(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """An RGB picture of even noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def ramp(width: int = 24, height: int = 16) -> Image.Image:
    """An L picture that rises from black at the left to white at the right."""
    return Image.fromarray(np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1)))


def png(image: Image.Image) -> bytes:
    """The picture as a plain PNG file."""
    return written(image, "PNG")


def written(image: Image.Image, pillow: str, *, exif: Image.Exif | None = None, icc: bytes | None = None) -> bytes:
    """The picture as a file, lossless where the format can be."""
    file = BytesIO()
    extra: dict[str, Any] = {"exif": exif} if exif is not None else {}
    lossless: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100},
    }
    image.save(file, pillow, icc_profile=icc, **extra, **lossless.get(pillow, {}))
    return file.getvalue()


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """The picture as a camera stores it that says `orientation`: applying the orientation gives `upright` back."""
    pixels = np.asarray(upright)
    # What EXIF says of the first row and column: where they lie in the picture as it is to be seen.
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: pixels.swapaxes(0, 1)[::-1],
        7: pixels.swapaxes(0, 1)[::-1, ::-1],
        8: pixels.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    return Image.fromarray(np.ascontiguousarray(turned))


def exif(*, orientation: int | None = None, copyright: bytes | None = None, gps: bool = False) -> Image.Exif:
    """EXIF with the given fields and a camera's name."""
    fields = Image.Exif()
    fields[ExifTags.Base.Make] = "Camera Maker"
    if orientation is not None:
        fields[ExifTags.Base.Orientation] = orientation
    if copyright is not None:
        fields[ExifTags.Base.Copyright] = copyright
    if gps:
        fields.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return fields


def animation(pillow: str, frames: int) -> bytes:
    """A GIF, WebP, PNG or TIFF of several different frames, the first of which is `scene()`."""
    file = BytesIO()
    others = [noise(24, 16, seed=seed) for seed in range(frames - 1)]
    scene().save(file, pillow, save_all=True, append_images=others)
    return file.getvalue()


def phone_jpeg() -> bytes:
    """A JPEG of two pictures, as phones write them (MPO): `scene()`, and a smaller one behind it."""
    file = BytesIO()
    scene().save(file, "MPO", save_all=True, append_images=[noise(12, 8)], quality=100, subsampling=0)
    return file.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One PNG chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG that claims a size and brings no pixels, with `chunks` after its header."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


def grey_profile() -> bytes:
    """An ICC profile of linear grey: its middle, 128, is the 188 of sRGB."""
    curve = b"curv" + bytes(4) + struct.pack(">I", 0)
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"kTRC": curve})


def cmyk_profile() -> bytes:
    """An ICC profile for which every mix of inks without black is the same red: so one can see that it was used."""
    red, black = bytes((round(53 * 2.55), 80 + 128, 67 + 128)), bytes((0, 128, 128))
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if place % 4 == 0 else 0 for place in range(9)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + identity * 4 + (red + black) * 8 + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"A2B0": table})


def difference(first: Image.Image, second: Image.Image) -> NDArray[np.int16]:
    """The absolute difference of two pictures, level by level."""
    return np.abs(np.asarray(first).astype(np.int16) - np.asarray(second).astype(np.int16))


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    padded = {name: content + bytes(-len(content) % 4) for name, content in tags.items()}
    start = 128 + 4 + 12 * len(padded)
    table, body = struct.pack(">I", len(padded)), b""
    for name, content in padded.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    white = struct.pack(">3i", 63190, 65536, 54061)
    head = struct.pack(">I4sI4s4s4s12x4s", start + len(body), bytes(4), 0x02400000, kind, space, connection, b"acsp")
    return head.ljust(68, b"\0") + white.ljust(60, b"\0") + table + body
