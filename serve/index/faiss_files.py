"""FAISS indexes of one collection's vectors, and the files through which the replicas of a node share them.

Shape legend: N items, D dimension, B queries, K hits, L hits asked for.
"""

import fcntl
import os
import shutil
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from serve.index.faiss_library import faiss

LISTS_PER_ROOT = 2
"""The inverted file has this many lists times the square root of the number of items, rounded to a power of two."""

POINTS_PER_LIST = 64
"""Most items per list that k-means takes to find the centres."""

KMEANS_ITERATIONS = 10
"""Iterations of k-means; with more of them, a search must look into as many lists."""

RECALL, CALIBRATED_HITS, NUM_QUERIES = 0.992, 100, 200
"""A search looks into the fewest lists with which NUM_QUERIES sample queries find this share of their best hits."""

EXACT_FILE, INVERTED_FILE, IN_USE_FILE, LOCK_FILE = "exact.faiss", "fast.faiss", "held", ".lock"


@dataclass(frozen=True)
class FaissIndexes:
    """The indexes of one collection.

    Attributes:
        exact: All vectors, for exact search.
        inverted: For a large catalogue: all vectors with one byte per entry, in an inverted file (IVF). Its `nprobe` is
            the number of lists that a search looks into; its scores are rounded.
        in_use: For indexes mapped from files: an open file whose shared lock keeps the files from being removed.
    """

    exact: faiss.IndexFlatIP
    inverted: faiss.IndexIVFScalarQuantizer | None
    in_use: IO[bytes] | None = None

    @classmethod
    def of(cls, vectors_ND: np.ndarray, exact_up_to: int) -> "FaissIndexes":
        """Builds the indexes in this process's own memory; above `exact_up_to` items with an inverted file."""
        vectors_ND = np.ascontiguousarray(vectors_ND, dtype=np.float32)
        exact = faiss.IndexFlatIP(vectors_ND.shape[1])
        exact.add(vectors_ND)
        return cls(exact, _inverted_file(vectors_ND, exact) if len(vectors_ND) > exact_up_to else None)

    @property
    def vectors_ND(self) -> np.ndarray:
        """The vectors, float32 [N, D]; a view of the exact index, so never write to it."""
        shape = (self.exact.ntotal, self.exact.d)
        return faiss.rev_swig_ptr(self.exact.get_xb(), shape[0] * shape[1]).reshape(shape)


def open_shared(name: str, make: Callable[[], FaissIndexes], folder: str | None) -> FaissIndexes:
    """Maps indexes from the files of this node; the first process makes the files while the others wait.

    The replicas of a node then share one copy in memory, that of the page cache. Files of other names that no process
    uses any more are removed.

    Args:
        name: The name of the collection; what it holds never changes.
        make: Builds the indexes if there are no files yet.
        folder: Where the files are; None means a folder of this user in the system's temporary folder.
    """
    where = _default_folder() if folder is None else Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    place = where / name
    with _locked(where, name):
        if not place.is_dir():
            _write(make(), place)
        in_use = (place / IN_USE_FILE).open("rb")
        fcntl.flock(in_use, fcntl.LOCK_SH)
    _remove_unused(where)
    exact, inverted = (_map_file(place / file) for file in (EXACT_FILE, INVERTED_FILE))
    return FaissIndexes(exact, inverted, in_use)


def _default_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"twotower-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise PermissionError(f"{folder}: others may write to it; remove it, or set TMPDIR")
    return folder


@contextmanager
def _locked(folder: Path, name: str, wait: bool = True) -> Iterator[None]:
    """Holds the lock of one collection's files: a build keeps nobody from opening another collection.

    Whoever removes the files removes the lock's file too, so a lock counts only if its file is still the one there.

    Raises:
        BlockingIOError: another process holds it, and this one does not `wait`.
    """
    path = folder / f".{name}{LOCK_FILE}"
    while True:
        with path.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                yield
                return


def _write(indexes: FaissIndexes, place: Path) -> None:
    """Writes a folder of files; it appears under its name only when it is complete."""
    staging = place.with_name(f".{place.name}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    faiss.write_index(indexes.exact, str(staging / EXACT_FILE))
    if indexes.inverted is not None:
        faiss.write_index(indexes.inverted, str(staging / INVERTED_FILE))
    (staging / IN_USE_FILE).touch()
    staging.rename(place)


def _map_file(file: Path) -> faiss.Index | None:
    return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC) if file.exists() else None


def _remove_unused(folder: Path) -> None:
    """Removes the indexes that no process holds a shared lock on, or builds, with the files of their locks."""
    for in_use in folder.glob(f"*/{IN_USE_FILE}"):
        name = in_use.parent.name
        with (
            suppress(BlockingIOError, FileNotFoundError),
            _locked(folder, name, wait=False),
        ):  # gone: another was faster
            with in_use.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(in_use.parent)
            (folder / f".{name}{LOCK_FILE}").unlink()


def _inverted_file(vectors_ND: np.ndarray, exact: faiss.IndexFlatIP) -> faiss.IndexIVFScalarQuantizer:
    """Builds an inverted file: lists around k-means centres, with one byte per entry to read little memory."""
    num_lists = 2 ** round(np.log2(max(LISTS_PER_ROOT * len(vectors_ND) ** 0.5, 2)))
    dim, byte = vectors_ND.shape[1], faiss.ScalarQuantizer.QT_8bit
    centres, metric = faiss.IndexFlatIP(dim), faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFScalarQuantizer(centres, dim, num_lists, byte, metric, False)
    index.cp.max_points_per_centroid, index.cp.niter = POINTS_PER_LIST, KMEANS_ITERATIONS
    index.train(vectors_ND)
    index.add(vectors_ND)
    index.nprobe = _calibrate_probes(index, vectors_ND, exact)
    return index


def _calibrate_probes(index: faiss.IndexIVFScalarQuantizer, vectors_ND: np.ndarray, exact: faiss.IndexFlatIP) -> int:
    """Returns the fewest lists with which a search finds the share RECALL of what exact search finds.

    User vectors are not available here. The sample queries are item vectors and means of pairs of item vectors, which
    lie between the lists.
    """
    random = np.random.default_rng(0)
    pairs_B2 = random.integers(0, len(vectors_ND), (NUM_QUERIES, 2))
    pairs_B2[::2, 1] = pairs_B2[::2, 0]
    queries_BD = vectors_ND[pairs_B2].mean(1)
    k = min(CALIBRATED_HITS, len(vectors_ND))
    exact_BK = exact.search(queries_BD, k)[1]

    def recall(num_probes: int) -> float:
        found_BL = index.search(queries_BD, 2 * k, params=faiss.SearchParametersIVF(nprobe=num_probes))[1]
        found = sum(np.isin(*pair, assume_unique=True).sum() for pair in zip(exact_BK, found_BL, strict=True))
        return float(found / exact_BK.size)

    return 1 + bisect_left(range(1, index.nlist), RECALL, key=recall)
