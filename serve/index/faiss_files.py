"""FAISS indexes over one collection's vectors, and the files by which the replicas of a node share them.

Shape legend: N items, D dimension, B queries.
"""

import fcntl
import os
import shutil
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import faiss
import numpy as np

LISTS_PER_ROOT = 2
"""Lists of the inverted file, over the square root of the number of items."""

POINTS_PER_LIST = 64
"""Items that each list's centre is found from, at most."""

ROUNDS = 10
"""Of k-means; with more, as many lists must be looked into."""

RECALL, HITS, QUERIES = 0.992, 100, 200
"""So many lists are looked into that, of a sample of queries, this share of the best hits is found."""

EXACT, FAST, HELD, LOCK = "exact.faiss", "fast.faiss", "held", ".lock"


@dataclass(frozen=True)
class FaissIndexes:
    """The vectors for exact search and, of a large catalogue, in a byte per entry in an inverted file.

    Attributes:
        fast: its `nprobe` is how many lists a search looks into; its scores are near the true ones.
        held: keeps the files that are mapped from being swept away.
    """

    exact: faiss.IndexFlatIP
    fast: faiss.IndexIVFScalarQuantizer | None
    held: IO[bytes] | None = None

    @classmethod
    def of(cls, vectors_ND: np.ndarray, exact_up_to: int) -> "FaissIndexes":
        """In this process's own memory; above `exact_up_to` items with an inverted file."""
        vectors_ND = np.ascontiguousarray(vectors_ND, dtype=np.float32)
        exact = faiss.IndexFlatIP(vectors_ND.shape[1])
        exact.add(vectors_ND)
        return cls(exact, _inverted_file(vectors_ND, exact) if len(vectors_ND) > exact_up_to else None)

    @property
    def vectors_ND(self) -> np.ndarray:
        """float32, a view. Not to be written to."""
        shape = (self.exact.ntotal, self.exact.d)
        return faiss.rev_swig_ptr(self.exact.get_xb(), shape[0] * shape[1]).reshape(shape)


def shared(name: str, make: Callable[[], FaissIndexes], folder: str | None) -> FaissIndexes:
    """Indexes mapped from this node's files; where there are none, the first to come makes them and the others wait.

    Replicas on a node then have one copy in memory, that of the page cache. Files that no process holds any more, of
    releases of before, are removed.

    Args:
        name: of what is indexed, and never changes: the collection's.
        folder: null takes one in the system's temporary folder.
    """
    where = _own_folder() if folder is None else Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    place = where / name
    with _locked(where):
        if not place.is_dir():
            _write(make(), place)
        held = (place / HELD).open("rb")
        fcntl.flock(held, fcntl.LOCK_SH)
        _sweep(where)
    exact, fast = (_mapped(place / file) for file in (EXACT, FAST))
    return FaissIndexes(exact, fast, held)


def _own_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"twotower-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise PermissionError(f"{folder}: others may write to it; remove it, or set TMPDIR")
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(indexes: FaissIndexes, place: Path) -> None:
    """A whole folder, or none."""
    staging = place.with_name(f".{place.name}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    faiss.write_index(indexes.exact, str(staging / EXACT))
    if indexes.fast is not None:
        faiss.write_index(indexes.fast, str(staging / FAST))
    (staging / HELD).touch()
    staging.rename(place)


def _mapped(file: Path) -> faiss.Index | None:
    return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC) if file.exists() else None


def _sweep(folder: Path) -> None:
    for held in folder.glob(f"*/{HELD}"):
        with held.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(held.parent)


def _inverted_file(vectors_ND: np.ndarray, exact: faiss.IndexFlatIP) -> faiss.IndexIVFScalarQuantizer:
    """Lists around k-means centres, of entries rounded to a byte: a search is as fast as memory is read."""
    num_lists = 2 ** round(np.log2(max(LISTS_PER_ROOT * len(vectors_ND) ** 0.5, 2)))
    dim, byte = vectors_ND.shape[1], faiss.ScalarQuantizer.QT_8bit
    centres, metric = faiss.IndexFlatIP(dim), faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFScalarQuantizer(centres, dim, num_lists, byte, metric, False)
    index.cp.max_points_per_centroid, index.cp.niter = POINTS_PER_LIST, ROUNDS
    index.train(vectors_ND)
    index.add(vectors_ND)
    index.nprobe = _probes(index, vectors_ND, exact)
    return index


def _probes(index: faiss.IndexIVFScalarQuantizer, vectors_ND: np.ndarray, exact: faiss.IndexFlatIP) -> int:
    """The fewest lists that find RECALL of what exact search finds.

    User vectors are not at hand; the sample is of items' vectors and of pairs' means, which lie between the lists.
    """
    random = np.random.default_rng(0)
    pairs_B2 = random.integers(0, len(vectors_ND), (QUERIES, 2))
    pairs_B2[::2, 1] = pairs_B2[::2, 0]
    queries_BD = vectors_ND[pairs_B2].mean(1)
    k = min(HITS, len(vectors_ND))
    wanted_BK = exact.search(queries_BD, k)[1]

    def recall(probes: int) -> float:
        found_BL = index.search(queries_BD, 2 * k, params=faiss.SearchParametersIVF(nprobe=probes))[1]
        found = sum(np.isin(*pair, assume_unique=True).sum() for pair in zip(wanted_BK, found_BL, strict=True))
        return float(found / wanted_BK.size)

    return 1 + bisect_left(range(1, index.nlist), RECALL, key=recall)
