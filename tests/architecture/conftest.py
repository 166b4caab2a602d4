"""Tests that parse the source must not meet the garbage of tests that ran before them in the same process."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_garbage() -> None:
    """Collects it first: asyncio logs the traceback of a dead task then, which within ast.parse is a SystemError.

    Python 3.11 parses the lines of a traceback too, and its parser does not stand being called within itself.
    """
    gc.collect()
