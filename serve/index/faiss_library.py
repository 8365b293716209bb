"""FAISS, imported in this one place: `from serve.index.faiss_library import faiss`.

On macOS, torch and faiss-cpu each bring an OpenMP runtime of their own. Two in one process, as in a fused replica,
end it with "OMP: Error #15", or with a crash in a parallel loop (faiss-wheels#73, pytorch#149201). So there the
second one is allowed before either starts its threads, and FAISS keeps to one thread. Milvus Lite imports FAISS by
itself, and therefore comes from here as well. This was read in those issues, and not run on a Mac.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from data.cluster.machine import allow_openmp_twice

allow_openmp_twice()

import faiss  # noqa: E402

if sys.platform == "darwin":
    faiss.omp_set_num_threads(1)

__all__ = ["faiss", "milvus_lite", "on_one_thread"]

MEMTABLE_BYTES = 8 << 20
"""Bytes of rows that Milvus Lite keeps before it writes them, as it counts them."""


def milvus_lite() -> Any:
    """The server manager of Milvus Lite, by which this process opens a .db and serves it on a loopback port.

    It keeps rows as Python objects until a table of them is full, and turns all of them into lists of numbers then: at
    its own limit of 128 MiB that takes this process 1.2 GiB.
    """
    os.environ.setdefault("MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES", str(MEMTABLE_BYTES))
    from milvus_lite.server_manager import server_manager_instance

    return server_manager_instance


@contextmanager
def on_one_thread() -> Iterator[None]:
    """What the present thread asks of FAISS within the block is computed by that thread alone.

    OpenMP keeps the number of threads for each thread that calls, so that it is of no use to set it in another one.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
