"""The API's description: valid and complete, and the service keeps to it."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.services import settings

from service.problems import KINDS

Start = Callable[..., httpx.Client]

CALLS = (
    "post /translate",
    "post /jobs",
    "get /jobs",
    "get /jobs/{id}",
    "delete /jobs/{id}",
    "get /jobs/{id}/events",
    "get /jobs/{id}/pictures",
    "get /jobs/{id}/results",
    "get /jobs/{id}/results/{name}",
    "get /models",
    "get /models/{name}",
    "get /models/{name}/samples/{file}",
    "get /domains",
    "get /healthz",
    "get /readyz",
)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="session")
def description(client: httpx.Client) -> dict[str, Any]:
    """What /openapi.json says."""
    said: dict[str, Any] = client.get("/openapi.json").json()
    return said


@pytest.fixture(scope="session")
def api(description: dict[str, Any]) -> schemathesis.BaseSchema:
    """The same, to make requests from."""
    return schemathesis.openapi.from_dict(description)


def test_description_is_valid(description: dict[str, Any]) -> None:
    """The description is valid OpenAPI 3.1."""
    assert description["openapi"].startswith("3.1")
    validate(description, cls=OpenAPIV31SpecValidator)


def test_every_problem_code_is_described(description: dict[str, Any]) -> None:
    """The description has all codes in one place, and none of the framework's own errors."""
    problem = description["components"]["schemas"]["Problem"]
    assert problem["properties"]["code"]["enum"] == [kind.code for kind in KINDS]
    assert "HTTPValidationError" not in str(description)


def test_calls_and_parameters_are_the_contracts(description: dict[str, Any]) -> None:
    """Paths, methods and the query of /translate are those that users rely on."""
    calls = {f"{method} {path}" for path, methods in description["paths"].items() for method in methods}
    assert calls >= set(CALLS)
    translate = description["paths"]["/translate"]["post"]
    parameters = {each["name"]: each["schema"].get("default") for each in translate["parameters"]}
    assert parameters == {
        "domains": None,
        "model": None,
        "strength": 1.0,
        "region": "auto",
        "size": "original",
        "format": None,
        "quality": 90,
    }
    assert set(translate["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/octet-stream"}


def test_jobs_take_the_query_of_translate(description: dict[str, Any]) -> None:
    """POST /jobs has every parameter of POST /translate with the same default, a webhook, and a key."""
    job, translate = ({each["name"]: each for each in described(description, path)} for path in ("/jobs", "/translate"))
    assert {name: each["schema"].get("default") for name, each in translate.items()} == {
        name: each["schema"].get("default") for name, each in job.items() if name in translate
    }
    assert set(job) - set(translate) == {"webhook", "Idempotency-Key"}
    assert job["Idempotency-Key"]["in"] == "header"
    content = description["paths"]["/jobs"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    assert set(content["application/json"]["schema"]["properties"]) == {"source", "destination"}


def test_description_can_be_switched_off(serve: Start) -> None:
    """With RECAST_DOCS=false there is neither the description nor its page, but the upload page."""
    client = serve(settings(docs=False))
    assert [client.get(path).status_code for path in ("/docs", "/openapi.json", "/")] == [404, 404, 200]


@pytest.mark.parametrize(
    ("call", "mode"),
    [
        *((call, GenerationMode.POSITIVE) for call in CALLS),
        # The calls that have parameters which can be wrong.
        ("post /translate", GenerationMode.NEGATIVE),
        ("post /jobs", GenerationMode.NEGATIVE),
        ("get /jobs", GenerationMode.NEGATIVE),
        ("get /jobs/{id}/pictures", GenerationMode.NEGATIVE),
    ],
)
def test_nothing_that_is_sent_breaks_the_service(
    client: httpx.Client, api: schemathesis.BaseSchema, call: str, mode: GenerationMode
) -> None:
    """Requests generated from the description, good and bad, get an answer that it allows, and no 500."""
    method, path = call.split()
    operation = api[path][method]

    @examples(max_examples=15, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(base_url=str(client.base_url), checks=CHECKS)

    check()


def described(description: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """The parameters of a POST."""
    parameters: list[dict[str, Any]] = description["paths"][path]["post"]["parameters"]
    return parameters
