"""Measures the shape of the source, in figures: `python scripts/shape.py [FOLDER]`, another checkout's for comparison.

Figures, not verdicts: they are here so that a restructuring can show what it did.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

PACKAGES = ("cli", "models", "worker", "service", "wiring")
SMALL = 30

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method of a module."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines(node: Function) -> int:
    """Lines of a function, its signature and docstring included."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def used_names(tree: ast.AST) -> Iterator[str]:
    """Every name that is read in a module, as a variable or as an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def measure(root: Path) -> dict[str, str]:
    """The figures of a checkout, by their names."""
    paths = [*root.glob("*.py"), *(path for package in PACKAGES for path in (root / package).rglob("*.py"))]
    texts = {path.relative_to(root): path.read_text(encoding="utf-8") for path in sorted(paths)}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    lengths = [len(text.splitlines()) for text in texts.values()]
    found = [function for tree in trees.values() for function in functions(tree)]
    once = 0
    for tree in trees.values():
        uses = Counter(used_names(tree))
        once += sum(is_private(function.name) and uses[function.name] == 1 for function in functions(tree))
    names = Counter((path.parts[0], path.name) for path in texts if len(path.parts) > 1 and path.name != "__init__.py")
    twice = sorted(f"{package}/…/{name}" for (package, name), count in names.items() if count > 1)
    comments = sum(line.lstrip().startswith("#") for text in texts.values() for line in text.splitlines())
    return {
        "modules": f"{len(texts)}, {median(lengths):.0f} lines in the median, {sum(lengths)} in all",
        f"modules of at most {SMALL} lines": str(sum(length <= SMALL for length in lengths)),
        "functions": f"{len(found)}, {median(map(lines, found)):.0f} lines in the median",
        "private functions that are used once": f"{once}, {100 * once / len(found):.0f} % of all",
        "base names that stand twice in a package": f"{len(twice)}: {', '.join(twice)}",
        "comment lines": f"{100 * comments / sum(lengths):.1f} in a hundred",
    }


if __name__ == "__main__":
    for name, figure in measure(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{name}: {figure}")
