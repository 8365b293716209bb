"""Tensors by name in safetensors files, which hold no code."""

import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from data.artifacts.errors import UserError
from data.artifacts.folders import Folder
from data.artifacts.json_text import json_text
from data.artifacts.replacing import replacing, uploading

COPIED_BYTES = 1 << 20
"""Bytes of a file that are copied at a time."""

NAMES = {np.dtype(np.int64): "I64", np.dtype(np.int32): "I32", np.dtype(np.int16): "I16"}
"""The names of types in the format."""

ALIGNED_TO = 8
"""The header's length is a multiple of this, and larger types come first, so that mapped values are aligned."""


class CheckpointError(UserError, ValueError):
    """A checkpoint cannot be used: it is damaged, has other shapes, or belongs to another dataset."""


def save_tensors(folder: Folder, name: str, tensors: dict[str, torch.Tensor]) -> None:
    """Writes tensors as one safetensors file; on a local disk without a copy of them in memory."""
    contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
    if not folder.is_local:
        folder.write_bytes(name, safetensors.torch.save(contiguous))
        return
    with replacing(Path(folder.path, name)) as partial:
        partial.touch()
        mode = partial.stat().st_mode  # as the umask says; `save_file` lets its owner alone read what it writes
        save_file(contiguous, partial)
        partial.chmod(stat.S_IMODE(mode))


def save_file(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Writes tensors, which must be contiguous, as one safetensors file on a local disk.

    Raises:
        OSError: the disk does not take it, such as one that is full; safetensors raises an error of its own there.
    """
    try:
        safetensors.torch.save_file(tensors, path)
    except SafetensorError as e:
        raise OSError(f"{path}: cannot be written ({e})") from e


def mapped_tensors(folder: Folder, name: str, only: Collection[str] | None = None) -> dict[str, torch.Tensor]:
    """Opens a safetensors file, whose values are read when they are used, and take no memory before.

    From an object store, the file is copied first, to a temporary one that goes with the tensors.

    Args:
        only: names of the tensors that are wanted; None takes all.

    Raises:
        CheckpointError: the file is not a complete safetensors file.
    """
    with _readable(folder, name), _on_disk(folder, name) as path, safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys() if only is None or key in only}  # noqa: SIM118


@contextmanager
def _on_disk(folder: Folder, name: str) -> Iterator[str]:
    """The path of a file, or of a copy that is removed when the block ends; what has been mapped of it stays."""
    if folder.is_local:
        yield f"{folder.path}/{name}"
        return
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
        with folder.filesystem.open_input_stream(f"{folder.path}/{name}", compression=None) as stream:
            shutil.copyfileobj(stream, copy, COPIED_BYTES)
        copy.flush()
        yield copy.name


@contextmanager
def _readable(folder: Folder, name: str) -> Iterator[None]:
    """Raises CheckpointError where the block finds that a file is not a complete safetensors file."""
    try:
        yield
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{folder}/{name}: not a readable safetensors file ({e})") from e


class GrowingTensors:
    """One-dimensional tensors whose values come in parts: each is in a temporary file until all of them are saved.

    Args:
        dtypes: the type of each tensor by its name.
    """

    def __init__(self, dtypes: Mapping[str, np.dtype], files: Mapping[str, IO[bytes]]) -> None:
        self._dtypes, self._files = dtypes, files

    @classmethod
    @contextmanager
    def open(cls, dtypes: Mapping[str, type[np.generic]]) -> Iterator["GrowingTensors"]:
        """Tensors without any value; the block may append and save them."""
        with ExitStack() as stack:
            files = {name: stack.enter_context(tempfile.TemporaryFile()) for name in dtypes}
            yield cls({name: np.dtype(of) for name, of in dtypes.items()}, files)

    def append(self, name: str, values: np.ndarray) -> None:
        """Adds values, of one dimension, to the end of a tensor."""
        self._files[name].write(np.ascontiguousarray(values, dtype=self._dtypes[name]).data)

    def save(self, folder: Folder, name: str) -> None:
        """Writes the file, as https://huggingface.co/docs/safetensors describes it: header in JSON, then the values."""
        names = sorted(self._files, key=lambda of: (-self._dtypes[of].itemsize, of))
        header, end = {}, 0
        for of in names:
            begin, end = end, end + self._files[of].tell()
            length = (end - begin) // self._dtypes[of].itemsize
            header[of] = {"dtype": NAMES[self._dtypes[of]], "shape": [length], "data_offsets": [begin, end]}
        text = json_text(header).encode()
        text += b" " * (-len(text) % ALIGNED_TO)
        target = f"{folder.path}/{name}"
        with (
            replacing(Path(target)) if folder.is_local else uploading(folder.filesystem, target) as partial,
            partial.open("wb") as out,
        ):
            out.write(len(text).to_bytes(8, "little") + text)
            for of in names:
                self._files[of].seek(0)
                shutil.copyfileobj(self._files[of], out)
