"""Formats are recognised by their first bytes, and found by name, media type and extension."""

from io import BytesIO

import pytest
from PIL import Image

from worker.imaging import formats
from worker.imaging.formats import FORMATS, Format, by_extension, by_media_type, by_name, extension, sniff, stem


def file_of(format: Format) -> bytes:
    """A small picture as Pillow itself writes that format."""
    file = BytesIO()
    Image.new("RGB", (8, 6), "teal").save(file, format.pillow)
    return file.getvalue()


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_sniff_knows_what_pillow_writes(format: Format) -> None:
    """Each format is recognised from the bytes that Pillow writes for it."""
    assert sniff(file_of(format)) is format


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_a_cut_signature_is_not_recognised_as_another_format(format: Format) -> None:
    """Any beginning of a file, however short, is recognised as its own format or as none."""
    data = file_of(format)
    assert {sniff(data[:length]) for length in range(40)} <= {format, None}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"BM",
        b"BMW is a maker of cars and motorcycles in Munich",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1heicavif",  # avif stands behind the end of the list of brands
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!doctype html><img src='a.png'>",
        b"PK\3\4",
        b"GIF90a",
    ],
)
def test_sniff_refuses_what_is_no_picture_here(data: bytes) -> None:
    """Text, documents, sound, video and picture formats outside the list are not recognised."""
    assert sniff(data) is None


def test_avif_in_a_generic_container_is_known_by_its_brands() -> None:
    """A container of the major brand mif1 is AVIF if its list of brands says so."""
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") is formats.AVIF


@pytest.mark.parametrize(
    ("name", "format"),
    [("jpeg", formats.JPEG), (" JPG ", formats.JPEG), ("Png", formats.PNG), ("tif", formats.TIFF), ("svg", None)],
)
def test_by_name(name: str, format: Format | None) -> None:
    """Names and extensions are found without regard to case and surrounding space."""
    assert by_name(name) is format


@pytest.mark.parametrize(
    ("media_type", "format"),
    [
        ("image/jpeg", formats.JPEG),
        ("IMAGE/JPG", formats.JPEG),
        ("image/webp; q=0.8", formats.WEBP),
        ("image/x-ms-bmp", formats.BMP),
        ("image/svg+xml", None),
        ("image/*", None),
        ("", None),
    ],
)
def test_by_media_type(media_type: str, format: Format | None) -> None:
    """Media types are found without regard to case and parameters, under their usual other names too."""
    assert by_media_type(media_type) is format


def test_by_extension() -> None:
    """Extensions are found in any case, and only with their dot."""
    assert by_extension(".JPG") is formats.JPEG
    assert by_extension("jpg") is None


def test_every_format_is_found_by_each_of_its_names() -> None:
    """A row's name, media type and extensions lead back to that row and to no other."""
    for format in FORMATS:
        assert by_name(format.name) is format
        assert by_media_type(format.media_type) is format
        assert {by_extension(extension) for extension in format.extensions} == {format}


def test_formats_that_pillow_lacks_are_not_offered() -> None:
    """This Pillow reads every listed format, and writes those that are marked as written."""
    Image.init()
    assert all(format.pillow in Image.OPEN for format in FORMATS)
    assert all(format.pillow in Image.SAVE for format in FORMATS if format.writes)


def test_only_a_picture_formats_extension_is_one() -> None:
    """Other dots belong to the name, so photo.v1 and photo.v2 are two pictures."""
    names = ("a.jpg", "b.TIFF", "a.b.webp", "photo.v1", "x/.png", "a.png/b", "jpg")
    assert [stem(name) for name in names] == ["a", "b", "a.b", "photo.v1", "x/.png", "a.png/b", "jpg"]
    assert [extension(name) for name in names] == [".jpg", ".TIFF", ".webp", "", "", "", ""]
