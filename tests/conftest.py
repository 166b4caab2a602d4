"""A small labelled set that the training tests share; they only read it."""

from pathlib import Path

import pytest
from support.data import labelled_folder


@pytest.fixture(scope="session")
def labelled_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures of 32 px with three plain domains."""
    return labelled_folder(tmp_path_factory.mktemp("data") / "plain")
