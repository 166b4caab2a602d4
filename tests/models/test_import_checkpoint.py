"""Foreign checkpoints are read as tensors in every format that PyTorch wrote, and nothing that they name is run."""

import io
import os
import pickle
import tarfile
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import State, resnet, stargan_discriminator, stargan_generator, unet
from torch import Tensor, nn
from torch.storage import TypedStorage

from models.errors import CheckpointError
from models.imports.checkpoint import fill, read

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}

Save = Callable[[Any, Path], None]


def saved(content: Any, path: Path) -> None:
    torch.save(content, path)


def saved_in_the_old_format(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


class PicklerOf2017(pickle.Pickler):
    """Writes tensors as PyTorch 0.3 did, before they had gradients of their own."""

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented
        storage = TypedStorage(wrap_storage=value.untyped_storage(), dtype=value.dtype, _internal=True)  # type: ignore[no-untyped-call]
        return torch._utils._rebuild_tensor, (storage, value.storage_offset(), tuple(value.shape), value.stride())


class PickleOf2017:
    """What torch.save wants of a pickle module."""

    Pickler = PicklerOf2017

    @staticmethod
    def dump(content: Any, file: Any, protocol: int) -> None:
        PicklerOf2017(file, protocol).dump(content)


def saved_in_2017(content: Any, path: Path) -> None:
    torch.save(content, path, pickle_module=PickleOf2017, _use_new_zipfile_serialization=False)


def put(folder: Path, content: Any, save: Save = saved) -> Path:
    """A checkpoint file."""
    path = folder / "x.pth"
    save(content, path)
    return path


def is_state(weights: Any) -> bool:
    """Whether these are the weights of STATE."""
    return list(weights) == list(STATE) and all(torch.equal(weights[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("save", [saved, saved_in_the_old_format, saved_in_2017])
def test_every_format_is_read(tmp_path: Path, save: Save) -> None:
    """Today's zip, the format before it and the tensors of PyTorch 0.3 give the same weights."""
    read_back = read(put(tmp_path, STATE, save))
    assert is_state(read_back.weights)
    assert len(read_back.sha256) == 64


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_what_wrappers_put_before_keys_is_taken_off(tmp_path: Path, wrapper: str) -> None:
    """Prefixes of DataParallel and torch.compile are removed, in either order."""
    assert is_state(read(put(tmp_path, {wrapper + key: tensor for key, tensor in STATE.items()})).weights)


def test_a_prefix_that_only_some_keys_have_stays(tmp_path: Path) -> None:
    """`module.` stays if only some keys begin with it, as a network may have a part of that name."""
    state = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert list(read(put(tmp_path, state)).weights) == ["module.a", "b"]


@pytest.mark.parametrize(
    "content",
    [
        OrderedDict(STATE),
        {"epoch": 5, "state_dict": STATE, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        {key: nn.Parameter(tensor) for key, tensor in STATE.items()},
        {key: tensor.double() for key, tensor in STATE.items()},
        {key: tensor.half() for key, tensor in STATE.items()},
    ],
)
def test_what_is_around_a_state_dict_does_not_matter(tmp_path: Path, content: Any) -> None:
    """Weights in a dictionary, as parameters or in another precision become float32 tensors."""
    weights = read(put(tmp_path, content)).weights
    assert is_state(weights)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


@pytest.mark.parametrize("version", [None, 1, 2])
def test_the_metadata_of_old_files_has_no_say(tmp_path: Path, version: int | None) -> None:
    """Batch norm's counters may be there or not, with any version of its state."""
    source = nn.BatchNorm2d(3)
    state = source.state_dict()
    if version != 2:
        del state["num_batches_tracked"]
    state._metadata = OrderedDict({"": {} if version is None else {"version": version}})  # type: ignore[attr-defined]
    target = nn.BatchNorm2d(3)
    nn.init.constant_(target.weight, 9)
    fill(target, read(put(tmp_path, state)))
    assert torch.equal(target.weight, source.weight)


def leaves_a_trace(folder: Path) -> Any:
    """An object whose unpickling makes a folder."""

    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(folder / "run"),)

    return Trap()


@pytest.mark.parametrize("save", [saved, saved_in_the_old_format])
@pytest.mark.parametrize("deep", [False, True])
def test_code_is_refused_and_not_run(tmp_path: Path, save: Save, deep: bool) -> None:
    """A pickle that would run code, alone or among tensors, does not run, and the error names the code."""
    trap = leaves_a_trace(tmp_path)
    path = put(tmp_path, {**STATE, "x": trap} if deep else trap, save)
    with pytest.raises(CheckpointError, match=r"holds posix\.mkdir, which is code and not tensors.*state_dict\(\)"):
        read(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("save", [saved, saved_in_the_old_format])
def test_whole_modules_are_refused(tmp_path: Path, save: Save) -> None:
    """For a pickled module the error names its class and how to save it instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch looks for the module's source
        path = put(tmp_path, nn.Conv2d(3, 3, 1), save)
    with pytest.raises(CheckpointError, match=r"holds torch\.nn\.modules\.conv\.Conv2d, which is code"):
        read(path)


def tar_of_2016(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())


def script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and files are there
        torch.jit.save(torch.jit.script(nn.ReLU()), path)


def torn(path: Path) -> None:
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (tar_of_2016, "can't be opened without running"),
        (script, "can't be opened without running"),
        (torn, "is not a readable checkpoint"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" * 30), "is not a file of torch.save, or is incomplete"),
        (lambda path: path.write_bytes(b""), "is not a file of torch.save, or is incomplete"),
        (lambda path: path.write_bytes(pickle.dumps(STATE)), "is not a file of torch.save, or is incomplete"),
        (lambda path: path.mkdir(), "can't be read: Is a directory"),
        (lambda path: None, "can't be read: No such file"),
        (lambda path: torch.save(torch.ones(1), path), "holds 0 state dicts"),
        (lambda path: torch.save({}, path), "holds 0 state dicts"),
        (
            lambda path: torch.save({"generator": STATE, "mapping_network": STATE}, path),
            "2 state dicts: generator, mapp",
        ),
        (lambda path: torch.save({"a": torch.tensor([1.0, float("nan")])}, path), "values that are not finite: a;"),
        (lambda path: torch.save({"a": torch.ones(1, dtype=torch.cfloat)}, path), "complex or sparse tensors: a;"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    """The error for any file is one line that says what is wrong."""
    make(tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=message) as refused:
        read(tmp_path / "x.pth")
    assert "\n" not in str(refused.value)


def only(*keys: str, side: int = 3) -> State:
    """A state with weights of these kernels."""
    return {key: torch.ones(2, 2, side, side) for key in keys}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (stargan_generator(), "a StarGAN generator"),
        (stargan_discriminator(), "a StarGAN discriminator"),
        (resnet(), "a ResNet generator"),
        (resnet(blocks=13), "a ResNet generator"),
        (unet(), "a U-Net generator"),
        (resnet() | only("model.7.filt"), "a generator of CUT"),
        (only("model.1.weight", side=7) | only("model.4.weight", "model.10.weight"), "global generator of pix2pixHD"),
        (only("model1_1.1.weight", side=7), "local enhancer of pix2pixHD"),
        (only("model.0.weight", side=7), "before July 2017"),
        (only("model.0.weight", "model.2.weight", side=4), "a PatchGAN discriminator"),
        (only("net.0.weight", "net.2.weight", side=1), "a pixel discriminator"),
    ],
)
def test_layouts_are_known_by_their_keys(tmp_path: Path, state: State, words: str) -> None:
    """Keys name the layouts that are read and those that are not."""
    assert words in read(put(tmp_path, state)).kind


def test_unknown_layouts_are_refused_with_their_keys(tmp_path: Path) -> None:
    """The error for an unknown layout names the first keys of the file."""
    with pytest.raises(CheckpointError, match=r"no known layout: a\.weight, a\.bias;"):
        _ = read(put(tmp_path, STATE)).kind
