"""The trust boundary: every kind of picture comes out as upright 8-bit RGB, every other input as RecastError."""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile
from support import pictures
from support.pictures import difference, exif, noise, ramp, scene, stored, written

from worker.errors import RecastError, TooLarge, UnreadableImage, UnsupportedMedia
from worker.imaging.decode import Decoded, decode
from worker.imaging.formats import FORMATS, JPEG
from worker.settings import Limits

LIMITS = Limits()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WRITABLE = [format.pillow for format in FORMATS]


def check(decoded: Decoded) -> None:
    """Asserts what is true of every decoded picture."""
    assert decoded.image.mode == "RGB"
    assert decoded.image.info == {}
    assert decoded.alpha is None or (decoded.alpha.mode, decoded.alpha.size) == ("L", decoded.image.size)


# --- formats, truncation, what is no picture


@pytest.mark.parametrize("pillow", WRITABLE)
def test_every_format_gives_its_picture(pillow: str) -> None:
    """The picture that was written comes out, with its format."""
    decoded = decode(written(scene(), pillow), LIMITS)
    check(decoded)
    assert decoded.format.pillow == pillow
    assert difference(decoded.image.convert("L"), scene().convert("L")).mean() < (16 if pillow == "GIF" else 3)


@pytest.mark.parametrize("pillow", WRITABLE)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_truncated_pictures_are_unreadable(pillow: str, share: float) -> None:
    """A picture of which a part is missing is refused, not filled up with grey."""
    data = written(noise(64, 64), pillow)
    with pytest.raises(UnreadableImage):
        decode(data[: int(len(data) * share)], LIMITS)


def test_no_bytes_are_unreadable() -> None:
    """An empty body is an unreadable picture, not an unsupported format."""
    with pytest.raises(UnreadableImage):
        decode(b"", LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        b"Hello, this is text.",
        b"<html><body>no picture</body></html>",
        b"%PDF-1.7\n1 0 obj",
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"P6 2 2 255\n" + bytes(12),
        bytes(1000),
    ],
)
def test_what_is_no_picture_is_unsupported(data: bytes) -> None:
    """Text, documents and formats outside the list are refused as unsupported, even those that Pillow could open."""
    with pytest.raises(UnsupportedMedia, match="PNG"):
        decode(data, LIMITS)


def test_heic_is_named() -> None:
    """HEIC, which phones send, is refused by its name."""
    with pytest.raises(UnsupportedMedia, match="HEIC"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), LIMITS)


@pytest.mark.parametrize(
    "signature", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"RIFF\4\0\0\0WEBP"]
)
def test_a_signature_without_a_picture_is_unreadable(signature: bytes) -> None:
    """Bytes that begin like a picture and go on differently are a broken picture."""
    with pytest.raises(UnreadableImage):
        decode(signature + b"and then something else altogether", LIMITS)


def test_what_follows_a_picture_is_ignored() -> None:
    """A file that is a picture and also something else (a polyglot) is decoded as the picture alone."""
    data = written(scene(), "PNG") + b"PK\3\4<script>alert(1)</script>"
    assert not difference(decode(data, LIMITS).image, scene()).any()


# --- limits


def test_bytes_are_limited() -> None:
    """As many bytes as the limit are accepted, one more is not."""
    data = written(scene(), "PNG")
    decode(data, Limits(max_bytes=len(data)))
    with pytest.raises(TooLarge, match=str(len(data) - 1)):
        decode(data, Limits(max_bytes=len(data) - 1))


def test_pixels_are_limited() -> None:
    """As many pixels as the limit are accepted, one row more is not."""
    decode(written(noise(20, 10), "PNG"), Limits(max_pixels=200))
    with pytest.raises(TooLarge, match="20 x 11"):
        decode(written(noise(20, 11), "PNG"), Limits(max_pixels=200))


def test_sides_are_limited() -> None:
    """A side as long as the limit is accepted, one pixel more is not."""
    decode(written(noise(30, 1), "PNG"), Limits(max_side=30))
    with pytest.raises(TooLarge, match="31 x 1"):
        decode(written(noise(31, 1), "PNG"), Limits(max_side=30))


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (16_000, 16_000), (12_000, 12_000), (8_000, 8_000)])
def test_decompression_bombs_are_too_large(width: int, height: int) -> None:
    """A header that claims too many pixels is refused by its size, before any pixel is looked for."""
    with pytest.raises(TooLarge):
        decode(pictures.png_header(width, height), LIMITS)


def test_the_size_limit_does_not_depend_on_warning_filters() -> None:
    """A bomb is refused just the same where Pillow's warning is silenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TooLarge, match="12000 x 12000"):
            decode(pictures.png_header(12_000, 12_000), LIMITS)


def test_text_bombs_are_unreadable() -> None:
    """A compressed PNG text of many megabytes is refused."""
    bomb = b"Comment\0\0" + zlib.compress(bytes(64 * 1024 * 1024))
    with pytest.raises(UnreadableImage):
        decode(pictures.png_header(8, 8, pictures.png_chunk(b"zTXt", bomb)), LIMITS)


@pytest.mark.parametrize("pillow", ["GIF", "WEBP", "PNG", "TIFF"])
def test_frames_are_limited(pillow: str) -> None:
    """As many frames as the limit are accepted, and the first is taken; one more is not."""
    decoded = decode(pictures.animation(pillow, 3), Limits(max_frames=3))
    assert difference(decoded.image.convert("L"), scene().convert("L")).mean() < 16
    for frames, limit in ((2, 1), (4, 3)):
        with pytest.raises(TooLarge, match=f"more than {limit} frame"):
            decode(pictures.animation(pillow, frames), Limits(max_frames=limit))


def test_a_phones_second_picture_is_no_frame() -> None:
    """A JPEG that holds several pictures is a still picture, and the first is taken."""
    decoded = decode(pictures.phone_jpeg(), LIMITS)
    assert decoded.format is JPEG
    assert difference(decoded.image, scene()).mean() < 3


def test_pillows_settings_stay_as_they_are() -> None:
    """Decoding changes nothing that is shared by all threads."""
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    decode(written(scene(), "PNG"), LIMITS)
    with pytest.raises(TooLarge):
        decode(pictures.png_header(12_000, 12_000), LIMITS)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))


# --- orientation and other EXIF


@pytest.mark.parametrize("pillow", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
def test_orientation_is_applied(pillow: str, orientation: int) -> None:
    """Whichever way the camera was held, the picture comes out upright, once."""
    data = written(stored(scene(), orientation), pillow, exif=exif(orientation=orientation))
    decoded = decode(data, LIMITS)
    assert decoded.image.size == scene().size
    assert difference(decoded.image, scene()).mean() < 3


def test_transparency_is_turned_with_the_picture() -> None:
    """Alpha goes through the same orientation as the colours."""
    upright = scene()
    upright.putalpha(ramp())
    data = written(stored(upright, 6), "PNG", exif=exif(orientation=6))
    decoded = decode(data, LIMITS)
    assert decoded.alpha is not None
    assert not difference(decoded.alpha, ramp()).any()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    """A picture with a nonsensical orientation is left as it is stored."""
    decoded = decode(written(scene(), "PNG", exif=exif(orientation=orientation)), LIMITS)
    assert not difference(decoded.image, scene()).any()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(9)]
)
def test_broken_exif_does_not_make_a_picture_unreadable(block: bytes) -> None:
    """A picture whose EXIF cannot be parsed is decoded without it."""
    file = io.BytesIO()
    scene().save(file, "JPEG", quality=100, subsampling=0, exif=block)
    assert difference(decode(file.getvalue(), LIMITS).image, scene()).mean() < 3


@pytest.mark.parametrize(
    ("field", "copyright"),
    [
        (b"Jane Doe", "Jane Doe"),
        ("© 2024 Jané".encode(), "© 2024 Jané"),
        ("© 2024 Jané".encode("latin-1"), "© 2024 Jané"),
        (b"Photographer\0Editor", "Photographer; Editor"),
        (b" \0Editor\x1b[31m", "Editor[31m"),
        (b"x" * 5000, "x" * 1000),
        (b"   ", None),
        (None, None),
    ],
)
def test_copyright_is_kept_printable(field: bytes | None, copyright: str | None) -> None:
    """The EXIF copyright comes out as text in its own encoding, of bounded length, without control characters."""
    data = written(scene(), "JPEG", exif=exif(copyright=field))
    assert decode(data, LIMITS).copyright == copyright


# --- modes


def test_16_bit_grey_is_scaled() -> None:
    """16-bit greys come out as their upper eight bits, rounded, and not clipped at 255."""
    deep = np.linspace(0, 65535, 24).astype(np.uint16)
    decoded = decode(written(Image.fromarray(np.tile(deep, (16, 1))), "PNG"), LIMITS)
    check(decoded)
    expected = np.round(deep / 257.0)
    assert np.abs(np.asarray(decoded.image)[0, :, 0] - expected).max() <= 1
    assert np.asarray(decoded.image)[0, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_float_pixels_are_scaled_by_the_usual_white(white: float) -> None:
    """Float pixels in 0..1, 0..255 and 0..65535 all give the same picture; NaN is black."""
    values = np.linspace(0, white, 24).astype(np.float32)
    values[0] = np.nan
    decoded = decode(written(Image.fromarray(np.tile(values, (16, 1))), "TIFF"), LIMITS)
    assert difference(decoded.image.getchannel("G"), ramp()).max() <= 1


def test_32_bit_integers_are_scaled() -> None:
    """Integers in 0..65535 that are stored in 32 bits are scaled to 0..255; negative ones are black."""
    values = np.linspace(0, 65535, 24).astype(np.int32)
    values[0] = -5
    decoded = decode(written(Image.fromarray(np.tile(values, (16, 1))), "TIFF"), LIMITS)
    assert difference(decoded.image.getchannel("G"), ramp()).max() <= 1


def test_one_bit_pictures_are_black_and_white() -> None:
    """A one-bit picture comes out in 0 and 255."""
    decoded = decode(written(ramp().convert("1"), "PNG"), LIMITS)
    check(decoded)
    assert set(np.unique(np.asarray(decoded.image))) == {0, 255}


@pytest.mark.parametrize("mode", ["L", "P", "YCbCr", "CMYK", "RGBX"])
def test_opaque_modes_become_rgb(mode: str) -> None:
    """Opaque pictures of other modes look as Pillow's own conversion shows them, and have no alpha."""
    image = scene().convert(mode)
    decoded = decode(written(image, "TIFF"), LIMITS)
    check(decoded)
    assert decoded.alpha is None
    assert difference(decoded.image, image.convert("RGB")).max() <= 2


def test_lab_becomes_srgb() -> None:
    """A CIE Lab TIFF comes out in the colours that it was made from."""
    lab = ImageCms.profileToProfile(
        scene(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    decoded = decode(written(lab, "TIFF"), LIMITS)
    check(decoded)
    assert decoded.icc is None
    assert difference(decoded.image, scene()).mean() < 4


def grey_and_alpha() -> bytes:
    """Grey scene, alpha rising to the right."""
    return written(Image.merge("LA", (scene().convert("L"), ramp())), "PNG")


def palette_and_alpha() -> bytes:
    """Palette of greys whose transparency rises with the index: a PNG with a tRNS chunk."""
    image = ramp().convert("P")
    file = io.BytesIO()
    image.save(file, "PNG", transparency=bytes(range(256)))
    return file.getvalue()


def colour_key() -> bytes:
    """RGB whose red mark is declared transparent by a tRNS chunk."""
    file = io.BytesIO()
    scene().save(file, "PNG", transparency=(250, 10, 10))
    return file.getvalue()


def transparent_gif() -> bytes:
    """A GIF of two colours, one of them transparent."""
    image = Image.fromarray((np.asarray(ramp()) > 127).astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    image.save(file, "GIF", transparency=0)
    return file.getvalue()


def rgba_webp() -> bytes:
    """A lossless WebP with alpha."""
    image = scene()
    image.putalpha(ramp())
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, exact=True)
    return file.getvalue()


def palette_alpha_tiff() -> bytes:
    """A TIFF of mode PA."""
    image = ramp().convert("PA")
    image.putalpha(ramp())
    return written(image, "TIFF")


@pytest.mark.parametrize(
    ("make", "alpha"),
    [
        (grey_and_alpha, np.asarray(ramp())),
        (palette_and_alpha, np.asarray(ramp())),
        (rgba_webp, np.asarray(ramp())),
        (palette_alpha_tiff, np.asarray(ramp())),
        (transparent_gif, np.where(np.asarray(ramp()) > 127, 255, 0)),
        (colour_key, np.where((np.asarray(scene()) == (250, 10, 10)).all(axis=-1), 0, 255)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_transparency_is_kept(make: Callable[[], bytes], alpha: np.ndarray) -> None:
    """Alpha channels, palettes with alpha and transparent colours all come out as the same kind of alpha."""
    decoded = decode(make(), LIMITS)
    check(decoded)
    assert decoded.alpha is not None
    assert np.array_equal(np.asarray(decoded.alpha), alpha)


# --- colour profiles


def test_rgb_profiles_are_kept() -> None:
    """The profile of an RGB picture comes out byte for byte, and the pixels stay as they are."""
    decoded = decode(written(scene(), "PNG", icc=SRGB), LIMITS)
    assert decoded.icc == SRGB
    assert not difference(decoded.image, scene()).any()


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_profiles_are_applied_and_dropped(mode: str) -> None:
    """Linear grey is converted to sRGB by its profile, which then no longer fits."""
    grey = Image.new("L", (8, 8), 128).convert(mode)
    decoded = decode(written(grey, "PNG", icc=pictures.grey_profile()), LIMITS)
    check(decoded)
    assert decoded.icc is None
    assert difference(decoded.image, Image.new("RGB", (8, 8), (188, 188, 188))).max() <= 2


@pytest.mark.parametrize("pillow", ["JPEG", "TIFF"])
def test_cmyk_profiles_are_applied_and_dropped(pillow: str) -> None:
    """A profile for which all inks are red makes a CMYK picture red."""
    decoded = decode(written(scene().convert("CMYK"), pillow, icc=pictures.cmyk_profile()), LIMITS)
    check(decoded)
    assert decoded.icc is None
    red, green, blue = np.asarray(decoded.image).reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert max(green, blue) < 20


@pytest.mark.parametrize("icc", [b"no profile", bytes(200), SRGB[:200], SRGB[:64] + bytes(100)])
@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_broken_profiles_are_dropped(mode: str, icc: bytes) -> None:
    """A profile that cannot be used is dropped, and the picture converted plainly."""
    image = scene().convert(mode)
    decoded = decode(written(image, "TIFF", icc=icc), LIMITS)
    assert decoded.icc is None
    assert difference(decoded.image, image.convert("RGB")).max() <= 1


def test_a_profile_of_another_kind_is_dropped() -> None:
    """A profile for grey on an RGB picture is not passed on: it would be wrong for every reader."""
    decoded = decode(written(scene(), "PNG", icc=pictures.grey_profile()), LIMITS)
    assert decoded.icc is None
    assert not difference(decoded.image, scene()).any()


def test_a_huge_profile_is_dropped() -> None:
    """A profile of many megabytes, though it works, is not passed on with every answer."""
    size = 5 * 1024 * 1024
    padded = struct.pack(">I", size) + SRGB[4:] + bytes(size - len(SRGB))
    assert decode(written(scene(), "TIFF", icc=padded), LIMITS).icc is None
    less = struct.pack(">I", size // 2) + SRGB[4:] + bytes(size // 2 - len(SRGB))
    assert decode(written(scene(), "TIFF", icc=less), LIMITS).icc == less


# --- hostile bytes

SEEDS = [written(noise(12, 9), pillow) for pillow in WRITABLE] + [
    pictures.animation("GIF", 2),
    pictures.animation("PNG", 2),
    palette_and_alpha(),
    written(scene().convert("CMYK"), "JPEG", icc=pictures.cmyk_profile()),
    written(scene(), "TIFF", exif=exif(orientation=5, copyright=b"c", gps=True), icc=SRGB),
]


def survives(data: bytes) -> None:
    """Asserts that the bytes are decoded or refused."""
    with contextlib.suppress(RecastError):
        check(decode(data, Limits(max_pixels=1_000_000, max_frames=2)))


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from([b"", *{seed[:16] for seed in SEEDS}]))
@example(b"", b"BM")
def test_random_bytes_are_decoded_or_refused(tail: bytes, head: bytes) -> None:
    """Whatever follows a picture's first bytes, only RecastError is raised."""
    survives(head + tail)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6),
    st.integers(0, 10_000),
)
def test_mutated_pictures_are_decoded_or_refused(seed: bytes, edits: list[tuple[int, bytes]], cut: int) -> None:
    """Real pictures with bytes overwritten and the end cut off raise only RecastError."""
    data = bytearray(seed)
    for place, new in edits:
        place %= len(data)
        data[place : place + len(new)] = new
    survives(bytes(data[: len(data) - cut % (len(data) // 2)]) if cut % 3 == 0 else bytes(data))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(
        [b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"zTXt", b"iTXt", b"acTL", b"fcTL", b"gAMA", b"cHRM"]
    ),
    st.binary(max_size=64),
)
def test_png_chunks_of_any_content_are_decoded_or_refused(kind: bytes, content: bytes) -> None:
    """A PNG with a chunk of arbitrary content and a right checksum raises only RecastError."""
    data = written(noise(6, 6), "PNG")
    survives(data[:33] + pictures.png_chunk(kind, content) + data[33:])
