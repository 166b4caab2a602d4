"""Pixels to the bytes of a file; of metadata only the profile, the copyright and the mark of AI-made pictures.

The mark says that a trained network changed the picture, as XMP: what was done, never who asked for it.
"""

from io import BytesIO

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from worker.errors import InvalidParameter
from worker.imaging.formats import AVIF, FORMATS, JPEG, PNG, WEBP, Format

QUALITY = range(1, 101)
"""What `quality` may be."""

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""The IPTC term for a captured picture that a trained model changed."""

_FULL_CHROMA = 90  # from this quality on, JPEG and AVIF keep colour at full resolution


def encode(
    image: Image.Image,
    alpha: Image.Image | None,
    *,
    format: Format,
    quality: int,
    icc: bytes | None,
    copyright: str | None,
) -> bytes:
    """The file of an RGB picture with its alpha (L, same size); a format without alpha shows it on white.

    `quality` is 1..100 and matters to lossy formats only. The same input gives the same bytes.
    Raises InvalidParameter for a format that is not written here, a side too long for it, or another quality.
    """
    if not format.writes:
        known = ", ".join(format.name for format in FORMATS if format.writes)
        raise InvalidParameter(f"format {format.name} is read but not written; choose {known}")
    if quality not in QUALITY:
        raise InvalidParameter(f"quality is {quality}; it must be from {QUALITY[0]} to {QUALITY[-1]}")
    if max(image.size) > format.longest:
        width, height = image.size
        raise InvalidParameter(
            f"the picture is {width} x {height} pixels, and {format.name} holds no side longer than {format.longest}; "
            "choose format=png, or size=model"
        )
    if alpha is None:
        full = image.copy()
    elif format.alpha:
        full = Image.merge("RGBA", (*image.split(), alpha))
    else:
        full = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    full.info = {}  # Pillow's writers take comments and profiles from here
    exif = Image.Exif()
    if copyright is not None:
        exif[ExifTags.Base.Copyright] = copyright.encode()
    return _write(full, format, quality, icc or b"", exif.tobytes() if copyright is not None else b"")


def _write(image: Image.Image, format: Format, quality: int, icc: bytes, exif: bytes) -> bytes:
    """The file, by Pillow's writer of the format."""
    file = BytesIO()
    chroma = "4:4:4" if quality >= _FULL_CHROMA else "4:2:0"
    match format.name:
        case JPEG.name:
            image.save(file, "JPEG", quality=quality, subsampling=chroma, icc_profile=icc, exif=exif, xmp=xmp())
        case PNG.name:
            mark = PngInfo()
            # The keyword of XMP in PNG (XMP specification, part 3).
            mark.add_itxt("XML:com.adobe.xmp", xmp().decode())
            # On a photograph, level 6 (the default) saves a tenth of the bytes and takes twice as long.
            image.save(file, "PNG", compress_level=3, pnginfo=mark, icc_profile=icc or None, exif=exif or None)
        case WEBP.name:
            # Method 4 (the default) saves 3 % of the bytes and takes twice as long. exact: keeps colours under alpha.
            image.save(file, "WEBP", quality=quality, method=2, exact=True, icc_profile=icc, exif=exif, xmp=xmp())
        case AVIF.name:
            # Speed 6 (the default) saves a fifth of the bytes and takes six times as long.
            image.save(
                file, "AVIF", quality=quality, speed=9, subsampling=chroma, icc_profile=icc, exif=exif, xmp=xmp()
            )
        case _:
            raise AssertionError(f"a format that is written has no writer: {format.name}")
    return file.getvalue()


def xmp() -> bytes:
    """The XMP packet, UTF-8, without padding: IPTC DigitalSourceType (as a property of Iptc4xmpExt) and the tool."""
    return _PACKET.encode()


_PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/">
   <Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>
   <xmp:CreatorTool>Recast</xmp:CreatorTool>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
