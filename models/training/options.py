"""Options from a TOML file and `key=value` words, resolved against a recipe's own defaults; all problems at once."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.errors import OptionsError
from models.recipes.recipe import Options


def resolve(kind: type[Options], base: Mapping[str, Any], config: Path | None, words: Sequence[str]) -> Options:
    """`base` (a resumed run's options), then the file, then the words, the later the stronger."""
    values = {**base, **(_from_file(config) if config else {}), **_from_words(words)}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise OptionsError("; ".join(_problem(kind, problem) for problem in error.errors())) from error


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionsError(f"the config file {path} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionsError(f"the config file {path} is no TOML: {error}") from error


def _from_words(words: Sequence[str]) -> dict[str, str]:
    bad = [word for word in words if "=" not in word]
    if bad:
        raise OptionsError(f"--set wants key=value, not {bad[0]!r}")
    pairs = (word.split("=", 1) for word in words)
    return {key.strip().replace("-", "_"): value for key, value in pairs}


def _problem(kind: type[Options], problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"]) or "options"
    if problem["type"] == "extra_forbidden":
        return f"there is no option {name}; there are {', '.join(kind.model_fields)}"
    return f"option {name}={problem['input']!r}: {problem['msg'].lower()}"
