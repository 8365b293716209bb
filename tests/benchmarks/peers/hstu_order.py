"""MovieLens-1M's ratings in the order that HSTU's preparation brings them into:
`DATASETS=... python -m tests.benchmarks.peers.hstu_order [to=var/movielens-1m-hstu]`.

HSTU's public code sorts all ratings by their times with pandas' default algorithm, which is not stable, and takes each
user's as they come: ratings of the same second change places. How they do depends on the processor, because NumPy sorts
in another way with AVX-512 or AVX2 than without. Here it sorts without, so the file is the same everywhere; whether
HSTU's own test items are these, nobody can tell from its code. `experiment=movielens_1m_hstu` reads the file. Items and
users have no features there, as HSTU uses none.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import Folder
from data.sources.tabular.plain_lines import lines

COLUMNS = ("user_id", "item_id", "weight", "time")
PLAIN = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 AVX512F AVX512_SKX"}
"""Makes NumPy sort as on a processor without AVX2 and AVX-512, by its names of them in old and new versions."""


def main(to: Path) -> None:
    folder = Folder.of(f"{os.environ['DATASETS']}/movielens-1m")
    name = next(name for name in ("ratings.dat", "ratings.dat.gz") if folder.exists(name))
    ratings = lines(folder / name).table("::", COLUMNS)
    times_N = ratings["time"].cast(pa.int64()).to_numpy()
    order_N, stable_N = (np.argsort(times_N, kind=kind) for kind in ("quicksort", "stable"))
    ordered = pc.binary_join_element_wise(*ratings.columns, "::").take(pa.array(order_N))
    to.mkdir(parents=True, exist_ok=True)
    (to / "ratings.dat").write_text("\n".join(ordered.to_pylist()) + "\n")
    users_N, items_N = ratings["user_id"].cast(pa.int32()).to_numpy(), ratings["item_id"].to_numpy(zero_copy_only=False)
    moved = latest(users_N, items_N, order_N) != latest(users_N, items_N, stable_N)
    print(f"{to / 'ratings.dat'}: {len(times_N):,} ratings; {moved.mean():.1%} of the users have another latest item")


def latest(users_N: np.ndarray, items_N: np.ndarray, order_N: np.ndarray) -> np.ndarray:
    """The latest item of each user, by user, with the interactions in this order."""
    by_user_N = order_N[np.argsort(users_N[order_N], kind="stable")]
    return items_N[by_user_N][np.append(np.flatnonzero(np.diff(users_N[by_user_N])), len(users_N) - 1)]


if __name__ == "__main__":
    if not PLAIN.items() <= os.environ.items():  # NumPy reads it when it is imported
        os.execve(sys.executable, [*sys.orig_argv], os.environ | PLAIN)
    main(Path(dict(argument.split("=", 1) for argument in sys.argv[1:]).get("to", "var/movielens-1m-hstu")))
