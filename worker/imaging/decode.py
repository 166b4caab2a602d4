"""Untrusted bytes to upright 8-bit RGB, once; limits are checked before pixels are decoded, only RecastError is raised.

Pillow's own guard against decompression bombs can't be relied on: its warning obeys process-wide filters, which threads
can't change safely. Opening reads headers only, and `decode` compares the size with its own limits before the first
pixel is decoded. Pillow's error (from 179 megapixels), and its warning where a filter raises it, become TooLarge.
"""

import logging
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile

from worker.errors import RecastError, TooLarge, UnreadableImage, UnsupportedMedia
from worker.imaging.formats import FORMATS, GIF, JPEG, TIFF, Format, sniff
from worker.settings import Limits

_log = logging.getLogger(__name__)

_READ_HERE = ", ".join(format.name.upper() for format in FORMATS)
_LARGEST_PROFILE = 4 * 1024 * 1024  # bytes
_LONGEST_COPYRIGHT = 1000  # characters
# What turns a picture upright, by its EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PROFILE_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}
# Files of 16-bit, 32-bit and float pixels may not say what white is: the values it may have, by Pillow's mode.
_WHITES = {"I;16": (65_535.0,), "I": (255.0, 65_535.0, 2.0**31), "F": (1.0, 255.0, 65_535.0)}


@dataclass(frozen=True)
class Decoded:
    """A picture as it should be seen: EXIF orientation applied, metadata removed except the fields below."""

    image: Image.Image
    """RGB, 8 bit."""
    alpha: Image.Image | None
    """L, of the same size; None where the picture can't be transparent."""
    icc: bytes | None
    """The RGB colour profile; None means sRGB."""
    format: Format
    copyright: str | None
    """EXIF Copyright, printable."""


def decode(data: bytes, limits: Limits) -> Decoded:
    """Decode the first frame of a picture.

    Colours: RGB keeps its profile; CMYK, Lab and grey are converted to sRGB, by theirs if it works.
    16-bit values are scaled. Of a JPEG with several pictures, as phones write them, the first is taken.

    Raises UnreadableImage (empty, truncated, corrupt), UnsupportedMedia (no picture format that is read here) and
    TooLarge (more bytes, pixels, side or frames than `limits`).
    """
    if len(data) > limits.max_bytes:
        raise TooLarge(f"the picture has {len(data)} bytes; the limit is {limits.max_bytes}: send a smaller one")
    if not data:
        raise UnreadableImage("no bytes came; send a picture")
    format = sniff(data)
    if format is None:
        seen = "this is HEIC or another kind of video container" if data[4:8] == b"ftyp" else "this is none of them"
        raise UnsupportedMedia(f"pictures are read as {_READ_HERE}, and {seen}: convert it first")
    # Pillow raises nearly anything on hostile bytes (SyntaxError, struct.error, KeyError, ...), so all is caught.
    try:
        image = _open(data, format)
        _check(image.size, data, format, limits)
        image.load()
        exif = _exif(image)
        # TIFF turns itself upright upon load and drops the tag, so the orientation must be read after it.
        orientation = exif.get(ExifTags.Base.Orientation)
        turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
        rgb, alpha, icc = _to_rgb(image if turn is None else image.transpose(turn))
    except RecastError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge("the picture has far more pixels than are read here: send a smaller one") from error
    except Exception as error:
        _log.info("unreadable %s: %s: %s", format.name, type(error).__name__, error)
        raise UnreadableImage(f"the {format.name.upper()} picture is truncated or corrupt: send it again") from error
    return Decoded(_without_info(rgb), None if alpha is None else _without_info(alpha), icc, format, _copyright(exif))


def _open(data: bytes, format: Format) -> Image.Image:
    return Image.open(BytesIO(data), formats=(format.pillow,))


def _check(size: tuple[int, int], data: bytes, format: Format, limits: Limits) -> None:
    """Refuses pictures without pixels, with too large a size, or with too many frames."""
    width, height = size
    if width < 1 or height < 1:
        raise UnreadableImage(f"the picture is {width} x {height} pixels: there is nothing to see")
    if max(size) > limits.max_side:
        raise TooLarge(f"the picture is {width} x {height} pixels; no side may be longer than {limits.max_side}")
    if width * height > limits.max_pixels:
        raise TooLarge(f"the picture is {width} x {height} = {width * height} pixels; the limit is {limits.max_pixels}")
    most = limits.max_frames
    if format is JPEG:
        # Phones keep previews and depth maps as further pictures of a JPEG (MPO): it is no animation.
        too_many = False
    elif format is GIF or format is TIFF:
        # Counting the frames of a hostile file takes long, so only the first frame too many is looked for; in a second
        # image, because seeking leaves traces in the first.
        try:
            _open(data, format).seek(most)
            too_many = True
        except EOFError:
            too_many = False
    else:
        too_many = getattr(_open(data, format), "n_frames", 1) > most
    if too_many:
        raise TooLarge(f"the picture has more than {most} frame{'s' * (most > 1)}, the limit: send a still picture")


def _exif(image: Image.Image) -> Image.Exif:
    """The picture's EXIF, empty where it can't be read: a picture may be good though its metadata are not."""
    try:
        exif = image.getexif()
        # Pillow parses an entry when it is asked for, so what is broken shows here.
        exif.get(ExifTags.Base.Orientation)
        exif.get(ExifTags.Base.Copyright)
    except Exception as error:
        _log.info("EXIF ignored: %s: %s", type(error).__name__, error)
        return Image.Exif()
    return exif


def _to_rgb(image: Image.Image) -> tuple[Image.Image, Image.Image | None, bytes | None]:
    """The picture as RGB, its alpha, and its colour profile where that is not applied already."""
    icc = image.info.get("icc_profile")
    if whites := _WHITES.get(image.mode[:4]):  # I;16 has variants for the byte order
        values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=whites[-1])
        brightest = float(values.max())
        # The least usual white that holds the brightest pixel.
        white = next((white for white in whites if brightest <= white), brightest)
        image = Image.fromarray(np.clip(np.floor(values * (255.0 / white) + 0.5), 0, 255).astype(np.uint8))
    alpha = None
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        full = image.convert("LA" if grey else "RGBA")
        image, alpha = full.convert("L" if grey else "RGB"), full.getchannel("A")
    if image.mode in ("1", "P", "YCbCr", "RGBX", "HSV"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    transform = _to_srgb(icc, image.mode)
    if image.mode == "RGB":
        return image, alpha, None if transform is None else icc
    return image.convert("RGB") if transform is None else transform.apply(image), alpha, None


def _to_srgb(icc: object, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile to sRGB; None for a profile that does not work, or is for another mode."""
    if not isinstance(icc, bytes) or not 0 < len(icc) <= _LARGEST_PROFILE:
        return None
    try:
        profile = ImageCms.getOpenProfile(BytesIO(icc))
        if profile.profile.xcolor_space.strip() != _PROFILE_SPACES.get(mode):
            return None
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except ImageCms.PyCMSError as error:
        _log.info("colour profile ignored: %s", error)
        return None


def _without_info(image: Image.Image) -> Image.Image:
    # Pillow's writers take comments and profiles from `info`; an image of a file keeps the file's bytes in memory.
    plain = image.copy() if isinstance(image, ImageFile.ImageFile) else image
    plain.info = {}
    return plain


def _copyright(exif: Image.Exif) -> str | None:
    value = exif.get(ExifTags.Base.Copyright)
    if not isinstance(value, str):
        return None
    try:
        # Pillow reads latin-1, which is what UTF-8 bytes look like to it.
        value = value.encode("latin-1").decode()
    except UnicodeError:
        _log.debug("copyright is not UTF-8; taken as latin-1")
    # EXIF sets photographer and editor apart by a zero byte.
    parts = ("".join(filter(str.isprintable, part)).strip() for part in value.split("\0"))
    return "; ".join(part for part in parts if part)[:_LONGEST_COPYRIGHT] or None
