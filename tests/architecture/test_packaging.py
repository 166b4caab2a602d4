"""The installed project: its packages, and the command."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of the tracked files, built without a network."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).symlink_to(ROOT / name)
    code = f"from setuptools import build_meta; print(build_meta.build_wheel({str(built)!r}))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = built.iterdir()
    return zipfile.ZipFile(path)


def test_nothing_generic_is_installed(wheel: zipfile.ZipFile) -> None:
    """Only the project's packages and `recast.py` are installed into site-packages."""
    found = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == {"recast.py", "cli", "models", "service", "wiring", "worker"}


def test_every_module_and_what_it_reads_is_installed(wheel: zipfile.ZipFile) -> None:
    """The wheel has the modules, the page and the shipped bundles of the repository."""
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in ("cli", "models", "service", "wiring", "worker")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - set(wheel.namelist()) == set()
    assert "models/pretrained/avatars/bundle.json" in wanted


def test_the_command_is_installed(wheel: zipfile.ZipFile) -> None:
    """The wheel's `recast` starts the command line."""
    (points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "recast = recast:main" in wheel.read(points).decode()
    assert points.startswith(f"recast-{PROJECT['project']['version']}.dist-info/")
