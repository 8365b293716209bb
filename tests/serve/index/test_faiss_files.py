"""Index files of a node: made once, mapped by all, swept away when nobody holds them, and as good as in memory."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from serve.index.faiss_files import RECALL, FaissIndexes, open_shared
from serve.index.faiss_library import faiss

SIZE, DIM = 20_000, 16
MAKE_LEFT = """
import sys
import numpy as np
from serve.index.faiss_files import FaissIndexes, open_shared
open_shared("left", lambda: FaissIndexes.of(np.eye(16), exact_up_to=99), sys.argv[1])
"""


@pytest.fixture(scope="module")
def vectors_ND() -> np.ndarray:
    """Around 100 centres, of unit length."""
    random = np.random.default_rng(0)
    found = random.standard_normal((100, DIM))[random.integers(0, 100, SIZE)] + 0.5 * random.standard_normal(
        (SIZE, DIM)
    )
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def making(vectors_ND: np.ndarray) -> Callable[[], FaissIndexes]:
    return lambda: FaissIndexes.of(vectors_ND, exact_up_to=0)


def test_no_more_lists_are_looked_into_than_it_takes(vectors_ND: np.ndarray) -> None:
    made = FaissIndexes.of(vectors_ND, exact_up_to=0)
    assert made.inverted is not None
    queries_BD = vectors_ND[:500] + vectors_ND[-500:]
    wanted_BK, found_BK = (index.search(queries_BD, 100)[1] for index in (made.exact, made.inverted))
    found = np.mean([len(set(a) & set(b)) / 100 for a, b in zip(wanted_BK, found_BK, strict=True)])
    assert found >= RECALL - 0.02
    assert made.inverted.nprobe < made.inverted.nlist


def test_small_catalogues_are_searched_exactly(vectors_ND: np.ndarray) -> None:
    assert FaissIndexes.of(vectors_ND, exact_up_to=SIZE).inverted is None


def test_what_is_shared_answers_as_what_was_made(making: Callable[[], FaissIndexes], tmp_path: Path) -> None:
    made, mapped = making(), open_shared("a", making, str(tmp_path))
    assert np.array_equal(mapped.vectors_ND, made.vectors_ND)
    assert made.inverted is not None
    assert mapped.inverted is not None
    assert mapped.inverted.nprobe == made.inverted.nprobe
    parameters = faiss.SearchParametersIVF(nprobe=8, sel=faiss.IDSelectorBatch(np.arange(0, SIZE, 3)))
    for one, other in ((made.exact, mapped.exact), (made.inverted, mapped.inverted)):
        for options in ({}, {"params": parameters} if one is made.inverted else {}):
            assert np.array_equal(
                one.search(made.vectors_ND[:50], 20, **options)[1], other.search(made.vectors_ND[:50], 20, **options)[1]
            )


def test_files_are_made_once(making: Callable[[], FaissIndexes], tmp_path: Path) -> None:
    first = open_shared("a", making, str(tmp_path))
    second = open_shared("a", lambda: pytest.fail("made twice"), str(tmp_path))
    assert np.array_equal(first.vectors_ND, second.vectors_ND)


def test_a_build_keeps_nobody_from_another_collection(making: Callable[[], FaissIndexes], tmp_path: Path) -> None:
    begun, end = threading.Event(), threading.Event()

    def slowly() -> FaissIndexes:
        begun.set()
        assert end.wait(60)
        return making()

    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(open_shared, "slow", slowly, str(tmp_path))
        assert begun.wait(60)
        same = pool.submit(open_shared, "slow", lambda: pytest.fail("made twice"), str(tmp_path))
        assert len(pool.submit(open_shared, "other", making, str(tmp_path)).result(60).vectors_ND) == SIZE
        assert not same.done()
        end.set()
        assert len(slow.result(60).vectors_ND) == len(same.result(60).vectors_ND) == SIZE


def test_what_no_process_holds_is_swept_away(making: Callable[[], FaissIndexes], tmp_path: Path) -> None:
    held = open_shared("held", making, str(tmp_path))
    subprocess.run([sys.executable, "-c", MAKE_LEFT, str(tmp_path)], check=True, cwd=Path(__file__).parents[3])
    assert (tmp_path / "left").is_dir()
    open_shared("new", making, str(tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".held.lock", ".new.lock", "held", "new"]
    assert len(held.vectors_ND) == SIZE
