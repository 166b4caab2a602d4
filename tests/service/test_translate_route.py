"""POST /translate when all is well: the body's two forms, the parameters, the answer's headers."""

import hashlib
import io
import re

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from support.bundles import TOY_LEVELS, toy_picture, toy_translated
from support.services import encoded, png

from service.routes.translate import preferred_format

BLACK_SMILING = {"black", "smiling"}


def test_applies_exactly_what_was_asked(client: httpx.Client, picture: bytes) -> None:
    """`blond` replaces black and keeps smiling, and the pixels are those of the bundle's graph."""
    answer = client.post("/translate", params={"domains": "blond"}, files={"image": picture})
    labels = np.array([[name in ("blond", "smiling") for name in TOY_LEVELS]], np.float32)
    expected = toy_translated(np.asarray(toy_picture(BLACK_SMILING))[None], labels)[0]
    assert answer.status_code == 200
    assert np.abs(pixels(answer).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", "image/x-nonsense", None])
def test_raw_body_is_the_same_as_a_form(client: httpx.Client, picture: bytes, content_type: str | None) -> None:
    """Raw bytes give the same answer as a multipart form, whatever their content type."""
    form = client.post("/translate?domains=blond", files={"image": picture})
    headers = {"Content-Type": content_type} if content_type else {}
    raw = client.post("/translate?domains=blond", content=picture, headers=headers)
    assert raw.status_code == 200
    assert raw.headers["etag"] == form.headers["etag"]


def test_headers_say_what_was_done(client: httpx.Client, picture: bytes) -> None:
    """The answer's headers have its model, labels, timings and a strong hash."""
    answer = client.post("/translate?domains=blond,-smiling", content=picture)
    headers = answer.headers
    assert headers["content-type"] == "image/png"
    assert headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert headers["recast-model"] == "toy@1"
    assert headers["recast-domains"] == "black=0, blond=1, brown=0, grey=0, smiling=0, glasses=0"
    steps = re.fullmatch(r"(\w+);dur=[\d.]+" + r", (\w+);dur=[\d.]+" * 4, headers["server-timing"])
    assert steps is not None
    assert steps.groups() == ("decode", "queue", "infer", "compose", "encode")
    assert headers["cache-control"] == "no-store"


def test_domains_may_repeat(client: httpx.Client, picture: bytes) -> None:
    """A repeated `domains` is the same as a list with commas."""
    repeated = client.post("/translate?domains=blond&domains=glasses", content=picture)
    listed = client.post("/translate?domains=blond,glasses", content=picture)
    assert repeated.headers["recast-domains"] == listed.headers["recast-domains"]
    assert "glasses=1" in repeated.headers["recast-domains"]


def test_strength_scales_the_change(client: httpx.Client, picture: bytes) -> None:
    """Strength 0 returns the same pixels, and 0.5 half of the change."""
    original = np.asarray(toy_picture(BLACK_SMILING))
    none = client.post("/translate?domains=glasses&strength=0", content=picture)
    half = client.post("/translate?domains=glasses&strength=0.5", content=picture)
    assert (pixels(none) == original).all()
    assert "glasses=0.5" in half.headers["recast-domains"]


@pytest.mark.parametrize(("model", "named"), [("flip", "flip@1"), ("flip@1", "flip@1"), ("toy@1", "toy@1")])
def test_model_is_chosen_by_name(client: httpx.Client, picture: bytes, model: str, named: str) -> None:
    """`model` takes a name, with or without a version."""
    domain = "zebra" if model.startswith("flip") else "blond"
    answer = client.post("/translate", params={"domains": domain, "model": model}, content=picture)
    assert answer.headers["recast-model"] == named


def test_several_models_are_applied_in_order(client: httpx.Client, picture: bytes) -> None:
    """Domains of two bundles are applied one after the other, and the answer names both."""
    answer = client.post("/translate?domains=glasses,zebra", content=picture)
    assert answer.headers["recast-model"] == "toy@1,flip@1"
    assert "zebra=1" in answer.headers["recast-domains"]


def test_contact_sheet_is_larger_than_the_picture(client: httpx.Client, picture: bytes) -> None:
    """`*` answers one picture with the original and every domain."""
    answer = client.post("/translate", params={"domains": "*", "model": "toy"}, content=picture)
    width, height = opened(answer).size
    assert width * height > 7 * 32 * 32


def test_size_is_the_uploads_or_the_models(client: httpx.Client) -> None:
    """`size=original` keeps width and height, `size=model` gives the network's."""
    wide = encoded(toy_picture(set(), size=64).resize((96, 64)), "PNG")
    assert opened(client.post("/translate?domains=blond", content=wide)).size == (96, 64)
    assert opened(client.post("/translate?domains=blond&size=model", content=wide)).size == (32, 32)


@pytest.mark.parametrize(
    ("format", "accept", "media_type"),
    [
        (None, "*/*", "image/jpeg"),
        (None, "image/webp", "image/webp"),
        (None, "image/*, image/png;q=0.2", "image/jpeg"),
        (None, "application/json", "image/jpeg"),
        ("png", "image/webp", "image/png"),
        ("webp", "*/*", "image/webp"),
    ],
)
def test_format_comes_before_accept_before_the_upload(
    client: httpx.Client, format: str | None, accept: str, media_type: str
) -> None:
    """`format` wins over Accept; without either, or with an Accept that can't be met, the format is the upload's."""
    upload = encoded(toy_picture(BLACK_SMILING), "JPEG")
    params = {"domains": "blond"} | ({"format": format} if format else {})
    answer = client.post("/translate", params=params, content=upload, headers={"Accept": accept})
    assert answer.headers["content-type"] == media_type
    assert Image.MIME[str(opened(answer).format)] == media_type


def test_quality_makes_the_file_smaller(client: httpx.Client) -> None:
    """A lower quality gives fewer bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    upload = encoded(Image.fromarray(noise), "PNG")
    sizes = [
        len(client.post(f"/translate?domains=blond&format=jpeg&quality={quality}", content=upload).content)
        for quality in (20, 95)
    ]
    assert sizes[0] < sizes[1]


def test_large_form_fields_are_streamed(client: httpx.Client) -> None:
    """A picture longer than the form parser's buffer arrives complete."""
    noise = np.random.default_rng(0).integers(0, 256, (500, 600, 3), np.uint8)
    upload = encoded(Image.fromarray(noise), "PNG")
    assert len(upload) > 800_000
    assert client.post("/translate?domains=blond", files={"image": upload}).status_code == 200


def test_pictures_of_many_clients_do_not_mix(client: httpx.Client) -> None:
    """Of many requests at once, each gets the answer for its own picture and wish."""
    plain = png({"brown"})
    answers = [client.post("/translate", params={"domains": name}, content=plain) for name in ("black", "grey")]
    assert "black=1, blond=0, brown=0, grey=0" in answers[0].headers["recast-domains"]
    assert "black=0, blond=0, brown=0, grey=1" in answers[1].headers["recast-domains"]


def opened(answer: httpx.Response) -> Image.Image:
    """The picture of an answer, which must be a success."""
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def pixels(answer: httpx.Response) -> NDArray[np.uint8]:
    """Its pixels, uint8 [h,w,3]."""
    return np.asarray(opened(answer).convert("RGB"))


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
    """In Accept the highest quality wins, then a named format; without any, the format is the upload's."""
    found = preferred_format(header)
    assert (found.name if found else None) == name


@given(st.text())
def test_no_header_is_an_error(header: str) -> None:
    """Any Accept header gives a format that Recast writes, or none."""
    found = preferred_format(header)
    assert found is None or found.writes
