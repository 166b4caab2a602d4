"""The provenance mark is well-formed XMP with the IPTC property that readers look for."""

from xml.etree import ElementTree

from worker.imaging.provenance import DIGITAL_SOURCE_TYPE, xmp

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"


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
