"""Files that are written hold the picture, its alpha, profile and copyright, the provenance mark, and nothing else."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from support.pictures import difference, exif, noise, ramp, scene, written

from worker.errors import InvalidParameter
from worker.imaging import formats
from worker.imaging.decode import decode
from worker.imaging.encode import DIGITAL_SOURCE_TYPE, encode, xmp
from worker.imaging.formats import FORMATS, Format
from worker.settings import Limits

WRITTEN = [format for format in FORMATS if format.writes]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"

each_written = pytest.mark.parametrize("format", WRITTEN, ids=lambda format: format.name)


def plain(image: Image.Image, format: Format, *, alpha: Image.Image | None = None, quality: int = 90) -> bytes:
    """The picture's file without profile and copyright."""
    return encode(image, alpha, format=format, quality=quality, icc=None, copyright=None)


def opened(data: bytes) -> Image.Image:
    """The file as Pillow reads it."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@each_written
def test_what_is_written_is_read_again(format: Format) -> None:
    """The file is of the format asked for and shows the picture."""
    data = plain(scene(), format)
    assert formats.sniff(data) is format
    assert difference(decode(data, Limits()).image, scene()).mean() < 6


@each_written
def test_alpha_is_kept_where_the_format_can(format: Format) -> None:
    """Alpha comes back from formats that hold it; the others show the picture on white."""
    decoded = decode(plain(scene(), format, alpha=ramp(), quality=100), Limits())
    if format.alpha:
        assert decoded.alpha is not None
        assert difference(decoded.alpha, ramp()).max() <= 3
    else:
        assert decoded.alpha is None
        assert (
            difference(decoded.image, Image.composite(scene(), Image.new("RGB", scene().size, "white"), ramp())).mean()
            < 3
        )


def test_png_keeps_every_bit() -> None:
    """PNG gives back the same pixels and alpha at any quality."""
    decoded = decode(
        plain(noise(31, 17), formats.PNG, alpha=noise(31, 17, seed=1).getchannel("R"), quality=1), Limits()
    )
    assert decoded.alpha is not None
    assert not difference(decoded.image, noise(31, 17)).any()
    assert not difference(decoded.alpha, noise(31, 17, seed=1).getchannel("R")).any()


@pytest.mark.parametrize("format", [format for format in WRITTEN if format.alpha], ids=lambda format: format.name)
def test_colours_under_full_transparency_stay(format: Format) -> None:
    """Colours under full transparency are kept, so that a later edit of alpha shows the picture."""
    decoded = decode(plain(scene(), format, alpha=Image.new("L", scene().size, 0)), Limits())
    assert difference(decoded.image, scene()).mean() < 6


@each_written
def test_the_same_picture_gives_the_same_bytes(format: Format) -> None:
    """Encoding is repeatable, so that a hash of the answer can serve as its ETag."""
    assert plain(scene(), format, alpha=ramp()) == plain(scene(), format, alpha=ramp())


@pytest.mark.parametrize("format", [format for format in WRITTEN if format.lossy], ids=lambda format: format.name)
def test_quality_trades_size_for_likeness(format: Format) -> None:
    """A higher quality gives a larger file that is closer to the picture."""
    sizes, errors = zip(
        *(
            (len(data), difference(decode(data, Limits()).image, noise(64, 64)).mean())
            for data in (plain(noise(64, 64), format, quality=quality) for quality in (10, 60, 95))
        ),
        strict=True,
    )
    assert list(sizes) == sorted(sizes)
    assert list(errors) == sorted(errors, reverse=True)


@each_written
@pytest.mark.parametrize("quality", [1, 100])
def test_the_ends_of_quality_work(format: Format, quality: int) -> None:
    """The least and the greatest quality are both written."""
    assert opened(plain(scene(), format, quality=quality)).size == scene().size


@pytest.mark.parametrize("quality", [0, 101, -1])
def test_quality_out_of_range_is_refused(quality: int) -> None:
    """A quality that does not exist is named in the refusal."""
    with pytest.raises(InvalidParameter, match=str(quality)):
        plain(scene(), formats.JPEG, quality=quality)


def test_formats_that_are_only_read_are_refused() -> None:
    """A GIF is not written, and the refusal names what is."""
    with pytest.raises(InvalidParameter, match=r"gif.*jpeg, png"):
        plain(scene(), formats.GIF)


def test_sides_that_a_format_cannot_hold_are_refused() -> None:
    """WebP ends at 16383 pixels a side."""
    assert opened(plain(Image.new("RGB", (16_383, 1)), formats.WEBP)).size == (16_383, 1)
    with pytest.raises(InvalidParameter, match="16383"):
        plain(Image.new("RGB", (16_384, 1)), formats.WEBP)


@each_written
def test_profile_and_copyright_are_written(format: Format) -> None:
    """The profile comes back byte for byte, and the copyright in its own letters."""
    data = encode(scene(), None, format=format, quality=90, icc=SRGB, copyright="© 2024 Jané")
    decoded = decode(data, Limits())
    assert (decoded.icc, decoded.copyright) == (SRGB, "© 2024 Jané")


@each_written
def test_every_file_bears_the_mark(format: Format) -> None:
    """The XMP packet is in the file where readers look for it, and says what was done."""
    packet = opened(plain(scene(), format, alpha=ramp())).info["xmp"]
    assert DIGITAL_SOURCE_TYPE in (packet.decode() if isinstance(packet, bytes) else packet)


@each_written
def test_nothing_else_is_written(format: Format) -> None:
    """A picture that comes with GPS, a comment, a time and a profile in its `info` leaves them behind."""
    source = opened(written(scene(), "JPEG", exif=exif(orientation=3, copyright=b"Jane", gps=True), icc=SRGB))
    source.info |= {
        "comment": b"secret",
        "xmp": b"secret",
        "exif": b"secret",
        "dpi": (301, 301),
        "transparency": (1, 2, 3),
    }
    data = plain(source, format)
    result = opened(data)
    assert b"secret" not in data
    assert "icc_profile" not in result.info
    assert dict(result.getexif()) == {}
    with_copyright = opened(encode(source, None, format=format, quality=90, icc=None, copyright="Jane"))
    assert dict(with_copyright.getexif()) == {ExifTags.Base.Copyright: "Jane"}


def test_what_followed_a_picture_is_gone() -> None:
    """Decoding and encoding remove everything that stood behind a picture in its file."""
    decoded = decode(written(scene(), "PNG") + b"<script>alert(1)</script>", Limits())
    data = plain(decoded.image, formats.PNG)
    assert b"<script" not in data
    assert np.array_equal(np.asarray(opened(data)), np.asarray(scene()))


def test_the_packet_is_well_formed_and_marked() -> None:
    """Between its wrappers the packet is XML whose one description carries DigitalSourceType."""
    description = ElementTree.fromstring(xmp().decode()).find(f"{RDF}RDF/{RDF}Description")
    assert description is not None
    assert description.findtext(f"{IPTC}DigitalSourceType") == DIGITAL_SOURCE_TYPE
    assert description.get(f"{RDF}about") == ""


def test_the_term_is_the_one_for_changed_pictures() -> None:
    """The term is IPTC's for a composite with trained algorithmic media, not that for purely made-up pictures."""
    assert DIGITAL_SOURCE_TYPE.rpartition("/")[2] == "compositeWithTrainedAlgorithmicMedia"


def test_the_packet_has_xmps_wrapper() -> None:
    """The packet begins and ends with the processing instructions by which scanners find it."""
    assert xmp().startswith('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode())
    assert xmp().endswith(b'<?xpacket end="r"?>')
