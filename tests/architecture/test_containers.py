"""The images and docker-compose.yml keep the promises of docs/containers.md, as far as shows without Docker."""

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
import typer
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from pydantic import BaseModel
from typer.core import TyperGroup

from cli.app import app
from service.settings import ServiceSettings
from worker.settings import EngineSettings, JobSettings, OperationsSettings, QueueSettings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILES = sorted(ROOT.glob("docker/*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
SECRETS = {"REDIS_PASSWORD": "hard-to-guess", "RECAST_KEYS": "a-key"}
SECRET = re.compile("KEY|PASSWORD|SECRET|TOKEN|AUTH|HEADERS|BROKER")
SETTINGS: dict[type[BaseModel], list[str]] = {
    ServiceSettings: ["service"],
    JobSettings: ["service", "worker", "worker-gpu"],
    OperationsSettings: ["service", "worker", "worker-gpu"],
    QueueSettings: ["worker", "worker-gpu"],
    EngineSettings: ["worker", "worker-gpu"],
}
FIXED = {"RECAST_HOST", "RECAST_PORT", "RECAST_WORKER_PORT"}
"""What an image or the published port decides."""
FOREIGN = re.compile("(AWS|OTEL|GF)_[A-Z_]+|REDISCLI_AUTH|GRAFANA_PASSWORD")
"""What others read."""


def tool(name: str) -> str:
    """The program of that name; skips the test if it is not installed."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    return found or pytest.skip(f"{name} is not installed")


def test_the_compose_file_fits_the_published_schema() -> None:
    """docker-compose.yml is valid by the JSON Schema of the Compose specification."""
    words = ["--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run([tool("check-jsonschema"), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def compose_config(**environment: str) -> subprocess.CompletedProcess[str]:
    """The output of `docker compose config`; skips the test if Docker is not installed."""
    docker = tool("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_CONFIG") if name in os.environ}
    words = [docker, "compose", "--env-file", os.devnull, "--profile", "*", "config", "--format", "json"]
    return subprocess.run(words, cwd=ROOT, env=kept | environment, capture_output=True, text=True)


def test_docker_compose_takes_the_file() -> None:
    """`docker compose config` accepts docker-compose.yml with the secrets, without a warning."""
    done = compose_config(**SECRETS)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["services"].keys() == SERVICES.keys()


@pytest.mark.parametrize("missing", SECRETS)
def test_docker_compose_demands_the_secrets(missing: str) -> None:
    """Without a secret nothing starts, and the error names it."""
    done = compose_config(**{name: value for name, value in SECRETS.items() if name != missing})
    assert done.returncode != 0
    assert f"variable {missing} is missing" in done.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    """hadolint, with its ShellCheck, finds nothing in the Dockerfiles."""
    done = subprocess.run([tool("hadolint"), "--no-color", str(path)], capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("name", SERVICES)
def test_containers_can_do_little(name: str) -> None:
    """Each container has a user without rights, a read-only root, no capabilities, limits and a health check."""
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(place.startswith("/tmp:size=") for place in service["tmpfs"])
    assert {"memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert {"restart", "logging", "stop_grace_period"} <= service.keys()
    assert {"privileged", "network_mode", "pid", "cap_add", "devices"}.isdisjoint(service)
    assert user(name).partition(":")[0] not in {"", "0", "root"}
    assert "healthcheck" in service or "HEALTHCHECK" in dict(dockerfile(name))
    assert not any("docker.sock" in volume for volume in service["volumes"])
    assert [v for v in service["volumes"] if v.startswith(".") and not v.endswith(":ro")] == []
    assert re.search(r":[\w.]*\d", service.get("image", ":1")) or name in OURS


def user(name: str) -> str:
    """The user of a container."""
    return str(SERVICES[name].get("user") or dict(dockerfile(name))["USER"])


def test_no_secret_has_a_default() -> None:
    """No secret has a default: each comes from the environment, and required ones must be set."""
    text = COMPOSE.read_text(encoding="utf-8")
    used = re.findall(r"(?<!\$)\$\{([A-Z_]+)([^}]*)\}", text)
    assert {name for name, _ in used} >= SECRETS.keys()
    assert [name for name, rest in used if SECRET.search(name) and not rest.startswith(("?", ":?"))] == []
    written = [
        (service, name)
        for service, parts in SERVICES.items()
        for name, value in parts.get("environment", {}).items()
        if SECRET.search(name) and value is not None and not re.search(r"\$\{[A-Z_]+:?\?", value)
    ]
    assert written == []


def test_grafana_does_not_start_without_a_password() -> None:
    """Without a password Grafana's container ends with one line."""
    entrypoint = [word.replace("$$", "$") for word in SERVICES["grafana"]["entrypoint"]]
    done = subprocess.run(entrypoint, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "GRAFANA_PASSWORD: it must be" in done.stderr


def test_redis_loses_and_throws_away_nothing(tmp_path: Path) -> None:
    """The container's command starts a Redis with the password, an append-only file, and no eviction."""
    shell, option, script = (word.replace("$$", "$") for word in SERVICES["redis"]["command"])
    script = script.replace("dir /data", f"dir {tmp_path}\nport 0\nunixsocket redis.sock")
    environment = {"PATH": f"{os.environ['PATH']}:/usr/bin", "REDISCLI_AUTH": SECRETS["REDIS_PASSWORD"]}
    server = subprocess.Popen([shell, option, script], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        assert any("ready to accept" in line.lower() for line in server.stdout)
        arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert SECRETS["REDIS_PASSWORD"].encode() not in arguments
        connect = partial(redis.Redis, unix_socket_path=str(tmp_path / "redis.sock"), decode_responses=True)
        with connect() as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with connect(password=SECRETS["REDIS_PASSWORD"]) as client:
            kept = client.config_get("appendonly", "maxmemory-policy")
            assert kept == {"appendonly": "yes", "maxmemory-policy": "noeviction"}
            room = int(client.config_get("maxmemory")["maxmemory"])
        assert 0 < room <= memory(SERVICES["redis"]["deploy"]["resources"]["limits"]["memory"]) // 2
    finally:
        server.kill()
        server.communicate()


def memory(text: str) -> int:
    """The bytes of `2g` and `512m`."""
    return int(text[:-1]) << {"m": 20, "g": 30}[text[-1]]


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
def test_docker_waits_longer_than_the_drain(name: str) -> None:
    """A worker's time to stop ends before Docker kills it."""
    patience = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert float(SERVICES[name]["environment"]["RECAST_DRAIN_S"]) + 5 <= patience


@pytest.mark.parametrize("name", OURS)
def test_commands_are_understood(name: str) -> None:
    """Each container's command is one of `recast` with options that it has, in the image and in Compose."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    instructions = dict(dockerfile(name))
    assert json.loads(instructions["ENTRYPOINT"]) == ["recast"]
    for command, *words in (SERVICES[name]["command"], json.loads(instructions["CMD"])):
        group.commands[command].make_context(command, list(words))


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_reaches_its_containers(kind: type[BaseModel]) -> None:
    """Every setting of `.env` reaches the containers, except those that an image or the published port decides."""
    names = {f"RECAST_{name.upper()}" for name in kind.model_fields} - FIXED
    for service in SETTINGS[kind]:
        assert names - SERVICES[service]["environment"].keys() == set(), service


def test_compose_names_nothing_but_settings() -> None:
    """Each variable of a container is a setting, or one that a known library reads."""
    settings = {f"RECAST_{name.upper()}" for kind in SETTINGS for name in kind.model_fields}
    named = {name for service in SERVICES.values() for name in service.get("environment", {})}
    named |= set(re.findall(r"RECAST_[A-Z_]+", "".join(path.read_text(encoding="utf-8") for path in DOCKERFILES)))
    assert {name for name in named - settings if not FOREIGN.fullmatch(name)} == set()


def test_containers_meet_at_their_ports() -> None:
    """Health checks, published ports and Prometheus ask where service and workers listen."""
    ports = {name: dict(dockerfile(name))["EXPOSE"] for name in OURS}
    assert ports == {"service": "8000", "worker": "9000", "worker-gpu": "9000"}
    assert all(f"'127.0.0.1', {ports[name]}," in probe(name) for name in OURS)
    assert str(ServiceSettings.model_fields["port"].default) == ports["service"]
    assert "RECAST_WORKER_PORT=9000" in dict(dockerfile("worker"))["ENV"]
    assert SERVICES["service"]["ports"][0].endswith(f":{ports['service']}")
    scraped = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    asked = {name: str(found["port"]) for job in scraped for found in job["dns_sd_configs"] for name in found["names"]}
    assert asked == ports


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    """Grafana's and Prometheus' files name the containers and folders of Compose."""
    source = yaml.safe_load((ROOT / "docker/grafana/datasources/prometheus.yml").read_text(encoding="utf-8"))
    assert [each["url"] for each in source["datasources"]] == ["http://prometheus:9090"]
    provider = yaml.safe_load((ROOT / "docker/grafana/dashboards/recast.yml").read_text(encoding="utf-8"))
    folder = provider["providers"][0]["options"]["path"]
    assert f"./docker/grafana:{folder}:ro" in SERVICES["grafana"]["volumes"]


@pytest.mark.parametrize("name", ["service", "worker"])
@pytest.mark.parametrize(("status", "code"), [(200, 0), (404, 1), (503, 1)])
def test_health_checks_believe_the_status(name: str, status: int, code: int) -> None:
    """The probe of an image ends with 0 where /healthz answers 200, and with 1 where it does not."""
    with answering(status) as port:
        script = re.sub(r"(?<='127\.0\.0\.1', )\d+", str(port), probe(name))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "")


def probe(name: str) -> str:
    """The script that an image's health check runs."""
    interpreter, option, script = json.loads(dict(dockerfile(name))["HEALTHCHECK"].partition("CMD ")[2])
    assert (interpreter, option) == ("python", "-c")
    return str(script)


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server that answers /healthz with this status, and all else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_images_install_what_the_project_names(path: Path) -> None:
    """Each image installs libraries first, by existing extras and the lock, and then the code alone."""
    libraries, code = [line for name, line in instructions(path) if name == "RUN" and "pip install" in line]
    assert "--constraint requirements.lock" in libraries
    runtimes = {SERVICES[name]["build"]["args"]["RUNTIME"] for name in ("worker", "worker-gpu")}
    assert {*extras(path), *runtimes} <= PROJECT["project"]["optional-dependencies"].keys()
    assert code.endswith("--no-deps --force-reinstall .")
    assert dict(instructions(path))["FROM"] == "python:3.11-slim"


@pytest.mark.parametrize(
    ("image", "without"),
    [
        ("service", {"onnxruntime", "onnxruntime-gpu", "torch", "onnx"}),
        ("worker", {"torch", "onnx"}),
        ("train", {"celery", "redis"}),
    ],
)
def test_images_hold_no_more_than_they_need(image: str, without: set[str]) -> None:
    """The service's image installs no ONNX Runtime, and only that of training PyTorch."""
    path = ROOT / f"docker/{image}.Dockerfile"
    needed = closure(Requirement(f"recast[{','.join(extras(path))}]"))
    assert {"numpy", "pydantic"} <= needed
    assert needed & without == set()


def closure(wanted: Requirement) -> set[str]:
    """The names of all packages that a requirement on the project installs, by the metadata of this environment."""
    options = PROJECT["project"]["optional-dependencies"]
    todo = [*PROJECT["project"]["dependencies"], *(line for extra in wanted.extras for line in options[extra])]
    found: set[tuple[str, str]] = set()
    while todo:
        requirement = Requirement(todo.pop())
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        for extra in {"", *requirement.extras}:
            if (name, extra) in found or not find_distribution(name):
                found.add((name, extra))
                continue
            found.add((name, extra))
            needs = map(Requirement, importlib.metadata.requires(name) or [])
            todo += [str(need) for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def find_distribution(name: str) -> bool:
    """Whether a library is installed here; those for a GPU may be missing."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_the_context_holds_the_project_and_nothing_else() -> None:
    """The build context has every module and package, and neither secrets nor data."""
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in "#"]
    assert lines[0] == "*"
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    tools = PROJECT["tool"]["setuptools"]
    needed = [f"{module}.py" for module in tools["py-modules"]]
    needed += [package.removesuffix("*") for package in tools["packages"]["find"]["include"]]
    needed += [word for path in DOCKERFILES for word in dict(instructions(path))["COPY"].split()[:-1]]
    assert [name for name in needed if not any(fnmatch(name, pattern) for pattern in let_in)] == []
    kept_out = [".env", ".git", "bundles", "data", "runs", "storage", "tests", ".venv"]
    assert [name for name in kept_out if any(fnmatch(name, pattern) for pattern in let_in)] == []


WITHOUT = """
import sys
for name in ("onnxruntime", "torch", "onnx", "onnxscript"):
    sys.modules[name] = None
"""


def test_the_service_runs_without_onnx_runtime(tmp_path: Path) -> None:
    """The service with a broker can be imported without ONNX Runtime and PyTorch."""
    names = "service.app, worker.pipeline, worker.queue.remote, wiring.service, wiring.workers"
    done = bare(tmp_path, [sys.executable, "-c", f"import {names}"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serve", "--broker", "redis://127.0.0.1:1", "--store", "nowhere"], "there is no store folder 'nowhere'"),
        (["serve", "--port", "0"], "onnxruntime"),
    ],
)
def test_errors_without_onnx_runtime_are_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    """Errors are one line in the service's image too; without a broker, the line names the missing package."""
    done = bare(tmp_path, [sys.executable, "-c", "import recast; recast.main()", *words])
    assert done.returncode == 2
    assert (done.stdout, done.stderr.count("\n")) == ("", 1), done.stderr
    assert message in done.stderr


def bare(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command in a Python that can't import what the image of the service lacks."""
    (folder / "sitecustomize.py").write_text(WITHOUT, encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def extras(path: Path) -> list[str]:
    """The extras of the project that an image installs."""
    (line,) = (line for name, line in instructions(path) if name == "RUN" and "pip install" in line and ".[" in line)
    runtime = dict(instruction for instruction in instructions(path) if "RUNTIME" in instruction[1]).get("ARG", "")
    words = shlex.split(line)[-1].replace("${RUNTIME}", runtime.removeprefix("RUNTIME="))
    return words.removeprefix(".[").removesuffix("]").split(",")


def dockerfile(name: str) -> list[tuple[str, str]]:
    """The instructions of a container's own Dockerfile; none for others' images."""
    build = SERVICES[name].get("build")
    return list(instructions(ROOT / build["dockerfile"])) if build else []


def instructions(path: Path) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile with its words, on one line."""
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, text.splitlines()):
        name, _, words = line.partition(" ")
        yield name, " ".join(words.split()) if name != "HEALTHCHECK" else words
