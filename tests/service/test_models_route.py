"""GET /models and /domains: the store's bundles, and no other file."""

import io
import json
import shutil
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from PIL import Image
from support.bundles import flip_bundle, toy_bundle
from support.services import serving, settings

from models.bundle.store import Store


def test_models_are_listed_by_rank_with_all_they_say(client: httpx.Client) -> None:
    """Each bundle of /models has its domains, groups, aliases, picture, licence, samples and size."""
    listed = client.get("/models").json()
    toy, flip = listed["models"]
    assert (toy["name"], toy["version"], toy["title"], toy["family"]) == ("toy", "1", "Toy attributes", "stargan")
    assert (toy["task"], toy["licence"], toy["precision"]) == ("translate", "CC0-1.0", "fp32")
    assert toy["groups"] == {"hair": ["black", "blond", "brown", "grey"]}
    assert {"name": "blond", "group": "hair", "aliases": ["blonde", "Blond_Hair"], "negatable": True} in toy["domains"]
    assert toy["picture"]["size"] == 32
    assert toy["samples"] == ["/models/toy@1/samples/blond.png"]
    assert toy["size_bytes"] > 1000
    assert [domain["negatable"] for domain in flip["domains"]] == [False, False]
    assert listed["refused"] == []


@pytest.mark.parametrize("path", ["/models/face-detector", "/models/face-detector@1/samples/a.png"])
def test_what_serves_the_models_is_none(client: httpx.Client, store: Store, path: str) -> None:
    """A bundle that detects faces is there, and neither listed, nor counted, nor shown."""
    assert store.snapshot().get("face-detector") is not None
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-model")
    assert answer.json()["detail"].endswith("there are toy, flip")
    assert client.get("/readyz").json()["models"] == 2


@pytest.mark.parametrize("ref", ["toy", "toy@1"])
def test_one_model_is_found_by_name_and_version(client: httpx.Client, ref: str) -> None:
    """`name` and `name@version` both give the bundle of the list."""
    assert client.get(f"/models/{ref}").json() == client.get("/models").json()["models"][0]


def test_samples_are_pictures_and_are_not_sent_twice(client: httpx.Client) -> None:
    """A listed sample is served with its type and hash; a client that has it gets a 304."""
    (path,) = client.get("/models/toy").json()["samples"]
    sample = client.get(path)
    assert sample.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(sample.content)).size == (32, 32)
    again = client.get(path, headers={"If-None-Match": sample.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "file",
    [
        "../bundle.json",
        "..%2Fbundle.json",
        "%2e%2e/generator.onnx",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "%2Fetc%2Fpasswd",
        "..%5Cbundle.json",
        "blond.png%00.txt",
        "blond.png/",
        "./blond.png",
        "",
    ],
)
def test_samples_are_only_those_of_the_manifest(client: httpx.Client, file: str) -> None:
    """No spelling of a path gives any other file."""
    # Not through the client, which would tidy the path up.
    connection = HTTPConnection(client.base_url.host, client.base_url.port or 0)
    with closing(connection):
        connection.request("GET", f"/models/toy/samples/{file}")
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["code"]) == (404, "not-found")


def test_domains_name_who_knows_them(client: httpx.Client) -> None:
    """/domains has every domain once, in order, with its bundles."""
    domains = client.get("/domains").json()["domains"]
    assert {"name": "blond", "models": ["toy@1"]} in domains
    assert {"name": "zebra", "models": ["flip@1"]} in domains
    names = [domain["name"] for domain in domains]
    assert names == sorted(set(names))


def test_store_is_followed_and_refused_bundles_are_told(tmp_path: Path) -> None:
    """A bundle that the store newly refuses is in the next answer, and the others stay."""
    toy_bundle(tmp_path)
    flip = flip_bundle(tmp_path)
    store = Store([tmp_path])
    with serving(store, settings()) as address, httpx.Client(base_url=address, trust_env=False) as client:
        (flip.folder / "zebra.onnx").write_bytes(b"damaged")
        store.refresh()
        listed = client.get("/models").json()
        assert [model["name"] for model in listed["models"]] == ["toy"]
        assert [refused["name"] for refused in listed["refused"]] == ["flip"]
        assert str(tmp_path) not in str(listed)
        shutil.rmtree(flip.folder)
        store.refresh()
        assert client.get("/models").json()["refused"] == []


def test_sample_of_a_bundle_that_is_being_replaced_is_not_found(tmp_path: Path) -> None:
    """A file that changed after the store saw it is never served under the old name and hash."""
    toy = toy_bundle(tmp_path)
    with serving(Store([tmp_path]), settings()) as address, httpx.Client(base_url=address, trust_env=False) as client:
        (toy.folder / "samples/blond.png").write_bytes(b"something else")
        assert client.get("/models/toy/samples/blond.png").status_code == 404
        (toy.folder / "samples/blond.png").unlink()
        assert client.get("/models/toy").status_code == 200
