"""Importing has no side effect, and serving never loads PyTorch; these tests see what really loads."""

import ast
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TRAINING = {"torch", "onnx", "onnxscript", "tensorboard"}

PROBE = """
import importlib, json, sys, threading
for name in sys.argv[1:]:
    importlib.import_module(name)
json.dump({
    "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
    "threads": [thread.name for thread in threading.enumerate()],
}, sys.stderr)
"""


def probe(folder: Path, *modules: str) -> dict[str, Any]:
    """What a fresh process in an empty folder finds after importing modules, with nonsense for every setting."""
    names = ["HOST", "PORT", "MAX_BYTES", "DEADLINE_S", "KEYS", "RATE", "DEVICE", "THREADS", "MAX_BATCH"]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        **{f"RECAST_{name}": "nonsense" for name in names},
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *modules],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return {
        **json.loads(done.stderr),
        "printed": done.stdout,
        "written": sorted(path.name for path in folder.iterdir()),
    }


def modules(package: str) -> list[str]:
    """The dotted names of a package and all that lies in it."""
    folder = ROOT.joinpath(*package.split("."))
    return [package, *(found.name for found in pkgutil.walk_packages([str(folder)], f"{package}."))]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A process that has imported everything that serving is made of."""
    names = [*modules("service"), *modules("worker"), *modules("models.bundle")]
    return probe(tmp_path_factory.mktemp("serving"), *names)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A process that has imported all of models."""
    return probe(tmp_path_factory.mktemp("training"), *modules("models"))


def test_serving_never_loads_pytorch(serving: dict[str, Any]) -> None:
    """A fresh process with every module of service, worker and models.bundle has none of the training's libraries."""
    assert {"service", "worker", "onnxruntime"} <= set(serving["loaded"])
    assert TRAINING.isdisjoint(serving["loaded"])


def test_the_command_line_starts_light(tmp_path: Path) -> None:
    """`recast --help` loads no web framework, no runtime, no numpy and no PyTorch."""
    heavy = TRAINING | {"fastapi", "uvicorn", "onnxruntime", "numpy", "PIL"}
    assert heavy.isdisjoint(probe(tmp_path, "recast")["loaded"])


@pytest.mark.parametrize("process", ["serving", "training"])
def test_importing_has_no_side_effect(process: str, request: pytest.FixtureRequest) -> None:
    """Every module can be imported with nonsense for settings; nothing is printed, written or started."""
    found = request.getfixturevalue(process)
    assert found["printed"] == ""
    assert found["written"] == []
    assert found["threads"] == ["MainThread"]


def test_only_settings_read_the_environment() -> None:
    """Only modules named settings use os.environ, os.getenv and BaseSettings."""
    readers = {"environ", "getenv", "BaseSettings"}
    found = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) in readers
    }
    assert found == {"service/settings.py", "worker/settings.py"}


def test_imports_stand_at_the_top() -> None:
    """No function imports; only the command line may, so that it starts quickly."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert found == []


def sources() -> list[Path]:
    """Every module but those of the command line."""
    packages = ("models", "worker", "service", "wiring")
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
