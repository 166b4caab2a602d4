"""The house rules of CONTRIBUTING.md that no linter knows."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = [
    *ROOT.glob("*.py"),
    *(path for package in ("cli", "models", "worker", "service", "wiring") for path in (ROOT / package).rglob("*.py")),
]
TESTS = list((ROOT / "tests").rglob("*.py"))
LONGEST_FUNCTION = 50
LONGEST_FILE = 400

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_modules_say_what_they_are_for() -> None:
    """Every module begins with a docstring."""
    assert [where(path) for path in OURS + TESTS if not ast.get_docstring(parsed(path))] == []


def test_files_stay_small() -> None:
    """No file is over 400 lines."""
    lengths = {where(path): len(path.read_text(encoding="utf-8").splitlines()) for path in OURS}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_functions_stay_small() -> None:
    """No function is over 50 lines, nor is one of the tests."""
    assert [at for at, f in functions(OURS + TESTS) if (f.end_lineno or 0) - f.lineno >= LONGEST_FUNCTION] == []


def test_signatures_name_what_they_take() -> None:
    """No function takes **kwargs, except the one that Typer calls with a wish's options."""
    taking = [(at.partition(":")[0], f.name) for at, f in functions(OURS) if f.args.kwarg]
    assert taking == [("cli/options.py", "run")]


def test_no_exception_is_swallowed() -> None:
    """No handler of an exception only passes; contextlib.suppress says which one is meant."""
    handlers = (
        (where(path), node)
        for path in OURS + TESTS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler)
    )
    assert [f"{path}:{h.lineno}" for path, h in handlers if len(h.body) == 1 and isinstance(h.body[0], ast.Pass)] == []


def test_tests_state_their_claim() -> None:
    """Every test has a docstring."""
    assert [at for at, f in functions(TESTS) if f.name.startswith("test_") and not ast.get_docstring(f)] == []


def test_tests_have_names_of_their_own() -> None:
    """No two test modules have the same basename, since pytest imports them without packages."""
    names = [path.name for path in TESTS if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def where(path: Path) -> str:
    """The path from the repository's root."""
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(paths: list[Path]) -> Iterator[tuple[str, Function]]:
    """Every function and method, with its place."""
    for path in paths:
        for node in ast.walk(parsed(path)):
            if isinstance(node, Function):
                yield f"{where(path)}:{node.lineno} {node.name}", node
