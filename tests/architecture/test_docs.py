"""The documentation is complete and true, as far as a machine can tell; a failure prints the missing lines."""

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from support.services import Failing, job_parts, settings
from typer.core import TyperGroup

from cli.app import app
from models.bundle.store import Store
from models.recipes import RECIPES
from service.app import create_app
from service.problems import KINDS
from service.routes import page
from service.settings import ServiceSettings
from worker.errors import NotReady
from worker.pipeline import Pipeline
from worker.settings import EngineSettings, JobSettings, Limits, OperationsSettings, QueueSettings

ROOT = Path(__file__).parents[2]
SETTINGS = (ServiceSettings, EngineSettings, JobSettings, QueueSettings, OperationsSettings)
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MACHINE_PATH = re.compile(r"(?<![\w./*:])/(home|root|work|Users|mnt|opt|private)/[\w.-]+")


def commands() -> dict[str, Any]:
    """The command line as Click sees it, by name; commands of a command have both names: `import stargan`."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        within = command.commands if isinstance(command, TyperGroup) else {}
        found |= {f"{name} {inner}": command for inner, command in within.items()} or {name: command}
    return found


def rows(fields: Mapping[str, FieldInfo], prefix: str = "") -> list[str]:
    """The rows of a table of settings or options: name, default, sentence."""
    return [
        f"| `{prefix}{name.upper() if prefix else name}` | {_default(field)} | {_cell(field.description)} |"
        for name, field in fields.items()
    ]


def _default(field: FieldInfo) -> str:
    value = field.default
    return "none" if value in (None, "", (), {}) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def missing(wanted: list[str], page: str) -> str:
    """The rows that no line of the page begins with, to be pasted; a table may have more columns."""
    lines = page.splitlines()
    return "\n".join(row for row in wanted if not any(line.startswith(row.removesuffix(" |")) for line in lines))


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_is_in_the_readme(kind: type[BaseModel]) -> None:
    """The README's table has each RECAST_ variable with its default and the sentence from the code."""
    wanted = rows(kind.model_fields, "RECAST_")
    assert wanted
    assert missing(wanted, README) == ""


def test_the_readme_has_no_setting_that_is_gone() -> None:
    """Each RECAST_ name in the documentation is a setting, or stands for an option of a command."""
    known = {f"RECAST_{name.upper()}" for kind in SETTINGS for name in kind.model_fields}
    known |= {str(option.envvar) for command in commands().values() for option in command.params if option.envvar}
    assert set(re.findall(r"RECAST_[A-Z_]+[A-Z]", "".join(text.read_text(encoding="utf-8") for text in PAGES))) <= known


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_option_is_on_its_recipes_page(recipe: str) -> None:
    """docs/recipes/NAME.md has each option with its default and the sentence from the code, and no other."""
    fields = RECIPES[recipe].options_type.model_fields
    text = (ROOT / f"docs/recipes/{recipe}.md").read_text(encoding="utf-8")
    assert missing(rows(fields), text) == ""
    assert set(re.findall(r"^\| `([a-z_0-9]+)` \|", text, re.MULTILINE)) <= set(fields)


def test_every_command_and_option_is_in_the_readme() -> None:
    """The README's table of commands names each command with all its options."""
    table = [line for line in README.splitlines() if line.startswith("| `recast ")]
    lines = {name: "".join(line for line in table if re.match(rf"\| `recast {name}[ `]", line)) for name in commands()}
    gone = [
        f"recast {name} {option}"
        for name, command in commands().items()
        for parameter in command.params
        for option in [name, *(flag for flag in parameter.opts if flag.startswith("--"))]
        if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", lines[name])
    ]
    assert gone == []


def test_every_command_line_is_understood() -> None:
    """Each `recast ...` in a code block names a command, and options and arguments that it takes."""
    found = [line for text in PAGES for line in _command_lines(text.read_text(encoding="utf-8"))]
    assert len(found) > 5
    for line in found:
        words = shlex.split(line, comments=True)[1:]
        names = [name for name in commands() if words[: len(name.split())] == name.split()]
        assert len(names) == 1, line
        commands()[names[0]].make_context(names[0], words[len(names[0].split()) :])


def test_every_route_is_in_the_readme(tmp_path: Path) -> None:
    """The README's table of calls has each method and path."""
    store = Store([tmp_path])
    translator = Failing(NotReady("never"))
    pipeline = Pipeline(store, translator, Limits(), threads=1)
    try:
        jobs = job_parts(JobSettings(storage=str(tmp_path / "storage")), pipeline)
        app = create_app(settings(), pipeline, store, translator, jobs)
        calls = [
            f"`{method} {path}" for path, item in app.openapi()["paths"].items() for method in map(str.upper, item)
        ]
    finally:
        pipeline.close()
    pages = [f"`GET {route.path}" for route in (*page.router.routes, *page.docs.routes) if isinstance(route, APIRoute)]
    assert len(calls) > 5
    wanted = [*calls, *pages, "`GET /openapi.json"]
    assert [call for call in wanted if not re.search(rf"{re.escape(call)}[`?]", README)] == []


def test_every_error_code_is_in_the_readme() -> None:
    """The README's table of errors has each code beside its status, and no other."""
    table = dict(re.findall(r"^\| (\d{3}) \| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", README, re.MULTILINE))
    written = {(int(status), code) for status, codes in table.items() for code in re.findall("`([a-z-]+)`", codes)}
    assert written == {(kind.status, kind.code) for kind in KINDS}


@pytest.mark.parametrize("text", PAGES, ids=lambda text: text.relative_to(ROOT).as_posix())
def test_links_within_the_project_resolve(text: Path) -> None:
    """Each relative link leads to a file, and each anchor to a heading."""
    broken: list[str] = []
    for link in LINK.findall(text.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = text if not path else text.parent / path
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


def test_no_machine_is_named() -> None:
    """No tracked text holds an absolute path of somebody's machine."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in files
        if path.is_file() and path != Path(__file__) and path.suffix not in {".png", ".onnx", ".jpg", ".webp"}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


def _command_lines(page: str) -> Iterator[str]:
    """Commands in code blocks (indented or fenced), continued lines joined."""
    blocks = re.findall(r"```\w*\n(.*?)```", page, re.DOTALL) + re.findall(r"(?:^ {4}.*\n)+", page, re.MULTILINE)
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            words = line.strip().removeprefix(".venv/bin/")
            if words.startswith("recast "):
                yield words


def _anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
