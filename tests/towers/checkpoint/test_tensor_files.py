"""Files of tensors: who may read them."""

from pathlib import Path

import torch

from data.artifacts.folders import Folder
from towers.checkpoint.tensor_files import load_tensors, save_tensors


def test_they_may_be_read_by_whom_other_files_may_be(tmp_path: Path) -> None:
    """A release is often published by another user than the one who trained it."""
    folder = Folder.of(str(tmp_path))
    for _ in range(2):  # a new file, and one in place of another
        save_tensors(folder, "weights.safetensors", {"weight": torch.ones(2)})
        folder.write_bytes("bytes", b"")
        assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "bytes").stat().st_mode
    assert load_tensors(folder, "weights.safetensors")["weight"].tolist() == [1, 1]
