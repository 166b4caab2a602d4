"""`recast serve`, `recast work` and `recast --version`."""

import importlib.metadata
from pathlib import Path

import pytest
from support.commands import Recast


def test_it_says_its_version(recast_: Recast) -> None:
    """`recast --version` prints the version of the installed package, and nothing else."""
    said = recast_("--version")
    assert (said.code, said.out) == (0, f"{importlib.metadata.version('recast')}\n")


def test_with_a_broker_the_device_is_the_workers(recast_: Recast, toy_store: Path) -> None:
    """With a broker `serve` refuses options of the engine, and says that they belong to `recast work`."""
    options = ["--device", "cpu", "--threads", "2", "--max-batch", "4"]
    said = recast_("serve", "--broker", "redis://127.0.0.1:1/0", "--store", toy_store, *options)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "give --device, --threads, --max-batch to `recast work`" in said.err


@pytest.mark.parametrize("command", [["serve"], ["work", "--broker", "redis://127.0.0.1:1/0"]])
@pytest.mark.parametrize(
    ("option", "value", "named"),
    [("--device", "tpu", "device='tpu'"), ("--threads", "-1", "threads=-1"), ("--max-batch", "0", "max_batch=0")],
)
def test_options_of_the_engine_are_checked(
    recast_: Recast, toy_store: Path, command: list[str], option: str, value: str, named: str
) -> None:
    """`serve` and `work` refuse an impossible device, number of threads or batch, and name the value."""
    said = recast_(*command, "--store", toy_store, option, value)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert named in said.err
