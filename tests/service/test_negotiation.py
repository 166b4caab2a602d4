"""The Accept header as an output format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.negotiation import accepted


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("", None),
        ("*/*", None),
        ("image/*", None),
        ("image/png", "png"),
        ("IMAGE/PNG", "png"),
        ("image/jpg", "jpeg"),
        ("image/webp, image/png", "webp"),
        ("image/webp;q=0.5, image/png;q=0.9", "png"),
        ("image/png;q=0.5, */*;q=0.9", None),
        ("*/*, image/webp", "webp"),
        ("image/gif", None),
        ("image/gif, image/png;q=0.1", "png"),
        ("image/png;q=0", None),
        ("image/png;q=nonsense", "png"),
        ("text/html, application/json", None),
        (",;,;q=1", None),
    ],
)
def test_best_liked_format_that_can_be_written(header: str, name: str | None) -> None:
    """The highest quality wins, a named format before a range; nothing to be had means as uploaded."""
    found = accepted(header)
    assert (found.name if found else None) == name


@given(st.text())
def test_no_header_is_an_error(header: str) -> None:
    """Whatever the client sends gives a format that can be written, or none."""
    found = accepted(header)
    assert found is None or found.writes
