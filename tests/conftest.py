"""A small labelled set that the training tests share; they only read it."""

from pathlib import Path

import pytest
from hypothesis import settings
from support.data import labelled_folder

# The same examples every time, and never timed: a busy machine is no failure.
settings.register_profile("recast", derandomize=True, deadline=None)
settings.load_profile("recast")


@pytest.fixture(scope="session")
def labelled_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures of 32 px with three plain domains."""
    return labelled_folder(tmp_path_factory.mktemp("data") / "plain")
