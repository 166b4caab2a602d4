"""Where the service's settings come from, and what is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import ServiceSettings


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ServiceSettings.model_fields:
        monkeypatch.delenv(f"RECAST_{name.upper()}", raising=False)


def test_defaults_are_safe() -> None:
    """By default the service listens on this machine alone, without keys and without a rate."""
    settings = ServiceSettings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.keys, settings.rate, settings.deadline_s) == ((), None, 30.0)
    assert settings.limits().max_bytes == settings.max_bytes == 20 * 1024 * 1024


def test_environment_comes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over `.env`, and an option over both."""
    (tmp_path / ".env").write_text("RECAST_PORT=1\nRECAST_DEADLINE_S=7\nRECAST_OTHER=ignored\n")
    monkeypatch.setenv("RECAST_PORT", "2")
    assert ServiceSettings().port == 2
    assert ServiceSettings().deadline_s == 7
    assert ServiceSettings(port=3).port == 3


def test_keys_are_split_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are separated by commas, and printed settings do not show them."""
    monkeypatch.setenv("RECAST_KEYS", " first, second ,,")
    settings = ServiceSettings()
    assert [key.get_secret_value() for key in settings.keys] == ["first", "second"]
    assert "first" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("MAX_BYTES", "0"),
        ("MAX_PIXELS", "many"),
        ("DEADLINE_S", "0"),
        ("DEADLINE_S", "inf"),
        ("RATE", "sixty a minute"),
        ("RATE", "0/minute"),
    ],
)
def test_nonsense_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A wrong setting is an error that names it."""
    monkeypatch.setenv(f"RECAST_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        ServiceSettings()


def test_every_setting_is_explained() -> None:
    """Each setting has its sentence."""
    assert [name for name, field in ServiceSettings.model_fields.items() if not field.description] == []
