"""Replacing a file as a whole, so that a crash at any moment leaves the old content or the new; and copying one."""

import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

LARGEST_COPIED = 5 * 2**30
"""Bytes of the largest file that an object store copies by itself: the limit of one CopyObject of S3."""

COPIED_AT_ONCE = 16 * 2**20
"""Bytes of a larger file that are in memory at once."""

PARTIAL = re.compile(r"\..*\.[0-9a-f]{32}\.partial")
"""The name of a file that `replacing` lets write; it is there after a block only if the process was killed in it."""


def is_partial(name: str) -> bool:
    """Whether a file of this name, which may follow those of folders, is one that a killed process did not complete."""
    return PARTIAL.fullmatch(name.rpartition("/")[2]) is not None


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to; the file there takes the place of `target` when the block ends, unless by an error.

    File and directory entry are fsynced. Until then the name begins with a dot, so that no reader takes it for data.
    """
    new_folders = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{uuid.uuid4().hex}.partial"
    try:
        yield partial
        _to_disk(partial)
        partial.replace(target)
        for folder in (target.parent, *(folder.parent for folder in new_folders)):
            _to_disk(folder)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def uploading(filesystem: fs.FileSystem, target: str) -> Iterator[Path]:
    """A path to write to; the file there goes to an object store when the block ends, unless by an error.

    (A file that is written to the store directly is there also after an error, cut where its rows ended.)
    """
    filesystem.create_dir(target.rsplit("/", 1)[0], recursive=True)
    with tempfile.TemporaryDirectory() as folder:
        yield (partial := Path(folder, "partial"))
        fs.copy_files(str(partial), target, fs.LocalFileSystem(), filesystem)


def copy_file(source: str, target: str, of: fs.FileSystem, to: fs.FileSystem) -> None:
    """Copies a file, within an object store by the store itself unless it is larger than that takes.

    Args:
        source, target: paths of the file and of its copy.
        of, to: their filesystems, which may be the same one.
    """
    is_within_a_store = of == to and not isinstance(of, fs.LocalFileSystem)
    if not is_within_a_store or of.get_file_info(source).size <= LARGEST_COPIED:
        fs.copy_files(source, target, of, to)
        return
    with (
        of.open_input_stream(source, compression=None) as read,
        to.open_output_stream(target, compression=None) as written,
    ):
        while content := read.read(COPIED_AT_ONCE):
            written.write(content)


def _to_disk(path: Path) -> None:
    """Waits until the content of a file, or the names in a folder, are on disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
