"""Files of tensors: who may read them, and those that are written part after part."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from data.artifacts.folders import Folder
from towers.checkpoint.tensor_files import GrowingTensors, mapped_tensors, save_tensors


def test_they_may_be_read_by_whom_other_files_may_be(tmp_path: Path) -> None:
    """A release is often published by another user than the one who trained it."""
    folder = Folder.of(str(tmp_path))
    for _ in range(2):  # a new file, and one in place of another
        save_tensors(folder, "weights.safetensors", {"weight": torch.ones(2)})
        folder.write_bytes("bytes", b"")
        assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "bytes").stat().st_mode
    assert mapped_tensors(folder, "weights.safetensors")["weight"].tolist() == [1, 1]


@pytest.mark.parametrize("place", ["disk", "object store"])
def test_tensors_that_come_in_parts_are_read_as_any_others(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = Folder.of(str(tmp_path)) if place == "disk" else request.getfixturevalue("bucket")
    parts = [np.arange(3), np.zeros(0, dtype=np.int64), np.arange(10)[::2]]
    dtypes = {"types": np.int16, "items": np.int32, "nothing": np.int32, "times": np.int64}
    with GrowingTensors.open(dtypes) as tensors:
        for part in parts:
            for name in ("types", "items", "times"):
                tensors.append(name, part)
        tensors.save(folder, "parts.safetensors")
    wanted = {name: torch.tensor([] if name == "nothing" else [0, 1, 2, 0, 2, 4, 6, 8]) for name in dtypes}
    found = mapped_tensors(folder, "parts.safetensors")
    assert {name: of.tolist() for name, of in found.items()} == {name: of.tolist() for name, of in wanted.items()}
    assert {name: of.dtype for name, of in found.items()} == {
        "types": torch.int16, "items": torch.int32, "nothing": torch.int32, "times": torch.int64
    }  # fmt: skip
    assert not [name for name in folder.names() if name.startswith(".")]


def test_what_is_not_saved_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), GrowingTensors.open({"items": np.int32}) as tensors:
        tensors.append("items", np.arange(3))
        tensors.append("times", np.arange(3))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """A publication on a full disk ended in a traceback; a bound of the size of files stands for the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="cannot be written"):
            save_tensors(Folder.of(str(tmp_path)), "weights.safetensors", {"weight": torch.ones(1 << 16)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "weights.safetensors").exists()
