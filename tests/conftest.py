"""What tests in several folders share: a Redis, and small sets that the training tests only read."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support.data import joint_folder, labelled_folder, pair_folder, unpaired_folder
from support.redis import Server, serving

# The same examples every time, and never timed: a busy machine is no failure.
settings.register_profile("recast", derandomize=True, deadline=None)
settings.load_profile("recast")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell that begins the suite in the background has it ignore Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One Redis for a module, which takes longer to start than to empty."""
    with serving(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def server(shared_redis: Server) -> Server:
    """The module's Redis, emptied for the test."""
    with shared_redis.client() as client:
        client.flushall()
    return shared_redis


@pytest.fixture(scope="session")
def labelled_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures of 32 px with three plain domains."""
    return labelled_folder(tmp_path_factory.mktemp("data") / "plain")


@pytest.fixture(scope="session")
def pair_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 pairs of 32 px side by side, B the negative of A."""
    return pair_folder(tmp_path_factory.mktemp("data") / "pairs")


@pytest.fixture(scope="session")
def unpaired_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 dark pictures of A and 5 bright ones of B, 32 px."""
    return unpaired_folder(tmp_path_factory.mktemp("data") / "unpaired")


@pytest.fixture(scope="session")
def joint_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled set with the domains red, green, bright, and class folders dark and light beside it, 32 px."""
    return joint_folder(tmp_path_factory.mktemp("data") / "joint")
