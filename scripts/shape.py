"""Measures the shape of the source: `python scripts/shape.py [FOLDER]`, where FOLDER is another checkout to compare.

The figures show the effect of a restructuring; they are not limits.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

PACKAGES = ("cli", "models", "worker", "service", "wiring")
SMALL = 30

TRAILS = {
    "`recast train cyclegan` to the cycle loss": (
        ("cli/training.py", "prepare(recipe"),
        ("models/training/start.py", "RECIPES[recipe]"),
        ("models/recipes/__init__.py", '"cyclegan": CycleGAN'),
        ("models/recipes/cyclegan.py", 'terms["cycle_a"] ='),
    ),
    "POST /translate to session.run": (
        ("service/routes/translate.py", "pipeline.translate("),
        ("worker/pipeline.py", "translator.run("),
        ("worker/embedded.py", "engine.run("),
        ("worker/engine/engine.py", ".run("),
        ("worker/engine/session.py", "session.run("),
    ),
    "a new query parameter, from its sentence to what it does": (
        ("worker/wish.py", "class Wish"),
        ("worker/pipeline.py", "wish."),
    ),
}
"""The files that a reader opens on the way, each with the text that leads to the next."""

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
    trails = {
        f"files from {name}": str(len(trail))
        for name, trail in TRAILS.items()
        if all((root / file).exists() and text in (root / file).read_text(encoding="utf-8") for file, text in trail)
    }
    return {
        "modules": f"{len(texts)}, {median(lengths):.0f} lines in the median, {sum(lengths)} in all",
        f"modules of at most {SMALL} lines": str(sum(length <= SMALL for length in lengths)),
        "functions": f"{len(found)}, {median(map(lines, found)):.0f} lines in the median",
        "private functions that are used once": f"{once}, {100 * once / len(found):.0f} % of all",
        "base names that stand twice in a package": f"{len(twice)}: {', '.join(twice)}",
        "comment lines": f"{100 * comments / sum(lengths):.1f} in a hundred",
        **trails,
    }


if __name__ == "__main__":
    for name, figure in measure(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{name}: {figure}")
