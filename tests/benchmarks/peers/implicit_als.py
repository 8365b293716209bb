"""implicit's ALS: seconds to train, and the vectors that it ends with.

    python implicit_als.py interactions.npz FACTORS ITERATIONS THREADS OUT.npz

Weight and regularisation: the best of a few settings that were tried on Gowalla.
"""

import json
import sys
import time

import numpy as np
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

ALPHA, REGULARIZATION = 60.0, 100.0


def main(path: str, factors: int, iterations: int, threads: int, out: str) -> None:
    arrays = np.load(path)
    seen = csr_matrix((np.ones(len(arrays["users"]), np.float32), (arrays["users"], arrays["items"])))
    model = AlternatingLeastSquares(
        factors=factors, iterations=iterations, regularization=REGULARIZATION, alpha=ALPHA, num_threads=threads,
        random_state=0,
    )  # fmt: skip
    started = time.perf_counter()
    model.fit(seen, show_progress=False)
    seconds = time.perf_counter() - started
    np.savez(out, users=model.user_factors, items=model.item_factors)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5])
