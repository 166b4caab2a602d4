"""Wish defines each parameter once: query, options, client and stored jobs come from it."""

import inspect
import json
from typing import Any, get_args, get_origin

import httpx
import pytest
import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from cli.app import app
from service.client import AsyncClient, Client, calls
from worker.imaging.encode import QUALITY
from worker.imaging.formats import FORMATS
from worker.jobs.intake import id_of
from worker.jobs.layout import Job
from worker.wish import Wish, explain

FIELDS = Wish.model_fields
OTHER = Wish(
    domains=("blond,-smiling", "hat:0.5"),
    model="toy@1",
    strength=0.5,
    region="whole",
    size="model",
    format="webp",
    quality=50,
)
"""A wish in which no field has its default."""


@pytest.mark.parametrize("path", ["/translate", "/jobs"])
def test_every_field_is_a_query_parameter(client: httpx.Client, path: str) -> None:
    """OpenAPI has each field of Wish with its sentence and default, and no other parameter of a picture."""
    parameters = client.get("/openapi.json").json()["paths"][path]["post"]["parameters"]
    query = {each["name"]: each for each in parameters if each["in"] == "query"}
    assert set(query) - set(FIELDS) == ({"webhook"} if path == "/jobs" else set())
    for name, field in FIELDS.items():
        assert query[name]["description"] == field.description
        assert query[name]["required"] == field.is_required()
        assert query[name]["schema"].get("default") == (None if field.is_required() else field.default)


@pytest.mark.parametrize("name", ["translate", "submit"])
def test_every_field_is_an_option(name: str) -> None:
    """Both commands have an option for each field of Wish with its sentence and default; `submit` needs no domains."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    options = {option.name: option for option in group.commands[name].params}
    for field_name, field in FIELDS.items():
        option: Any = options[field_name]
        assert option.opts == [f"--{field_name}"]
        assert option.help == field.description
        assert option.required == (field.is_required() and name == "translate")
        assert option.default == (None if field.is_required() else field.default)


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_the_client_takes_the_model_itself(client: type[Client] | type[AsyncClient]) -> None:
    """The client's `translate` and `submit` have one parameter for the wish, and none for its fields."""
    for call in (client.translate, client.submit):
        parameters = inspect.signature(call).parameters
        assert parameters["wish"].annotation == calls.WishLike
        assert set(parameters).isdisjoint(FIELDS)


def test_every_field_reaches_the_query() -> None:
    """The service reads the client's query as the wish that the client was given; defaults are not sent."""
    assert all(getattr(OTHER, name) != field.default for name, field in FIELDS.items())
    query = calls.translate(b"", OTHER).query
    assert set(query) == set(FIELDS)
    assert Wish.model_validate(query) == OTHER
    assert set(calls.translate(b"", "blond").query) == {"domains"}


def test_every_field_is_stored_with_a_job() -> None:
    """A stored job has the whole wish."""
    job = Job(id="0" * 26, created=1.0, wish=OTHER, pictures=1, upload="u")
    assert set(json.loads(job.bytes())["wish"]) == set(FIELDS)
    assert Job.model_validate_json(job.bytes()) == job


def test_a_job_that_was_stored_before_still_loads() -> None:
    """A job.json of an earlier version loads, and is written with the same bytes."""
    stored = (
        '{"id":"00000000000000000000000000","created":1.5,"wish":{"domains":["blond"],"model":"toy@1","strength":1.0,'
        '"region":"auto","size":"original","format":null,"quality":90},"pictures":2,"upload":"u","source":null,'
        '"destination":null,"webhook":null,"fingerprint":"f","keyed":true}'
    )
    job = Job.model_validate_json(stored)
    assert job.wish == Wish(domains=("blond",), model="toy@1")
    assert job.bytes().decode() == stored


def test_a_keys_job_keeps_its_id() -> None:
    """A key gives the same job id in every version, so that a repeated request finds its job."""
    assert id_of("key") == "5hoe2arq0p3fi8jpugjsfcseec"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"domains": ()}, "'domains'"),
        ({"model": ""}, "'model'"),
        ({"strength": 2.1}, "'strength' is '2.1': input should be less than or equal to 2"),
        ({"strength": -0.1}, "'strength'"),
        ({"strength": float("nan")}, "'strength'"),
        ({"region": "nose"}, "'region' is 'nose': input should be 'auto', 'whole' or 'face'"),
        ({"size": "huge"}, "'size'"),
        ({"format": "gif"}, "'format'"),
        ({"quality": 0}, "'quality'"),
        ({"quality": 101}, "'quality'"),
        ({"qualty": 50}, "'qualty'"),
    ],
)
def test_what_can_never_be_done_is_refused(asked: dict[str, object], said: str) -> None:
    """The explanation names the parameter, its value and the allowed ones."""
    with pytest.raises(ValidationError) as caught:
        Wish.model_validate({"domains": ("blond",)} | asked)
    assert said in explain(caught.value.errors()[0])


def test_the_limits_are_those_of_the_encoder() -> None:
    """The formats and qualities of Wish are those that Recast can write."""
    assert set(choices(FIELDS["format"])) == {format.name for format in FORMATS if format.writes}
    for quality in (QUALITY[0], QUALITY[-1]):
        assert Wish(domains=("blond",), quality=quality).quality == quality


def choices(field: FieldInfo) -> list[str]:
    """The values of a Literal that may be None."""
    (literal,) = (part for part in get_args(field.annotation) if get_origin(part) is not None)
    return list(get_args(literal))
