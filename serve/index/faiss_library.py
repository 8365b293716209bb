"""FAISS, imported in this one place: `from serve.index.faiss_library import faiss`.

On macOS, torch and faiss-cpu each bring an OpenMP runtime of their own. Two in one process, as in a fused replica,
end it with "OMP: Error #15", or with a crash in a parallel loop (faiss-wheels#73, pytorch#149201). So there the
second one is allowed, by the variable KMP_DUPLICATE_LIB_OK of LLVM's OpenMP, before either starts its threads, and
FAISS keeps to one thread. This was read in those issues, and not run on a Mac.
"""

import os
import sys

OPENMP_MAY_BE_THERE_TWICE = "KMP_DUPLICATE_LIB_OK"
"""Environment variable of LLVM's OpenMP runtime; a value that is already set is kept."""

if sys.platform == "darwin":
    os.environ.setdefault(OPENMP_MAY_BE_THERE_TWICE, "TRUE")

import faiss  # noqa: E402

if sys.platform == "darwin":
    faiss.omp_set_num_threads(1)

__all__ = ["faiss"]
