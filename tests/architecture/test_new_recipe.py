"""ARCHITECTURE.md says where to add a GAN system; this test follows it in a copy of the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.data import pair_folder

ROOT = Path(__file__).parents[2]
PACKAGES = ("cli", "models", "worker", "service", "wiring")
ROW = '"pix2pix": Pix2Pix}'


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one more recipe: one file, and one row in the table of recipes."""
    folder = tmp_path_factory.mktemp("project")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    for name in ("docs", "tests", "docker"):
        (folder / name).symlink_to(ROOT / name)
    for path in (*ROOT.glob("*.py"), *ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml")):
        shutil.copy(path, folder)
    shutil.copy(ROOT / "tests/support/repaint.py", folder / "models/recipes/repaint.py")
    table = folder / "models/recipes/__init__.py"
    text = table.read_text(encoding="utf-8")
    assert ROW in text
    text = text.replace(ROW, '"pix2pix": Pix2Pix, "repaint": Repaint}')
    text = text.replace("RECIPES:", "from models.recipes.repaint import Repaint\n\nRECIPES:")
    table.write_text(text, encoding="utf-8")
    return folder


def call(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Runs a module of the copy."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=110)


def test_a_recipe_is_one_file_and_one_row(copy: Path, tmp_path: Path) -> None:
    """The commands train, export and use the new recipe, and no other file has its name."""
    data, run, bundle = pair_folder(tmp_path / "data"), tmp_path / "run", tmp_path / "store" / "negative"
    options = [f"--set={word}" for word in ("size=32", "steps=150", "batch=4", "workers=0")]
    trained = call(copy, "recast", "train", "repaint", "--data", data, "--out", run, *options)
    assert trained.returncode == 0, trained.stderr
    exported = call(copy, "recast", "export", run, "--to", bundle)
    assert exported.returncode == 0, exported.stderr
    picture, out = tmp_path / "in.png", tmp_path / "out.png"
    Image.new("RGB", (32, 32), (250, 250, 250)).save(picture)
    words = ("translate", picture, "--domains", "repainted", "--store", bundle.parent, "--out", out)
    translated = call(copy, "recast", *words)
    assert translated.returncode == 0, translated.stderr
    with Image.open(out) as made:
        level = made.convert("L").getpixel((16, 16))
    assert isinstance(level, int)
    assert level < 125  # it has learned that B is the negative of A


def test_a_recipe_without_a_page_is_found(copy: Path) -> None:
    """The tests of the documentation fail until docs/recipes/ has its page."""
    words = ("pytest", "tests/architecture/test_docs.py", "-k", "recipes_page", "-q", "-p", "no:cacheprovider")
    found = call(copy, *words)
    assert "test_every_option_is_on_its_recipes_page[repaint]" in found.stdout
    assert "1 failed, 3 passed" in found.stdout
