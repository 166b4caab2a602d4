"""The command line called in this process, and a store with the toy bundle."""

from pathlib import Path

import pytest
from support.bundles import toy_bundle
from support.commands import Recast, Said

import recast


@pytest.fixture
def recast_(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Recast:
    """Runs `recast WORDS...`; returns its exit code and output."""

    def run(*words: object) -> Said:
        monkeypatch.setattr("sys.argv", ["recast", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            recast.main()
        printed = capsys.readouterr()
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds the toy bundle."""
    store = tmp_path_factory.mktemp("store")
    toy_bundle(store)
    return store
