"""Strings are found by their hashes as Arrow finds them, also where hashes are not distinct."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data.sources.values import string_hashes
from data.sources.values.string_hashes import NOT_FOUND, StringHashes, hashes

WORDS = ["", "a", "b", "ab", "ba", "aa", "1", "01", "1.0", "ключ", "键", "é", "e\u0301", "\x00", "\x00\x00", "x" * 5000]


def values(num: int) -> pa.Array:
    random = np.random.default_rng(num)
    numbers = random.choice(10 * num, num, replace=False)
    return pa.array([*WORDS, *(f"u{number:0{number % 9}d}" for number in numbers.tolist())])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@pytest.mark.parametrize("block", [7, 1 << 22])
def test_strings_are_found_as_arrow_finds_them(monkeypatch: pytest.MonkeyPatch, kind: pa.DataType, block: int) -> None:
    monkeypatch.setattr(string_hashes, "BLOCK_BYTES", block)
    known = pc.unique(values(2000)).cast(kind)
    wanted = pa.concat_arrays([known.take(pa.array([5, 5, 0, 1000])), pa.array(["no", None, "u"], kind), known[7:900]])
    for part in (wanted, wanted[3:], wanted[:0], pa.array([None, None], kind)):
        places = StringHashes.of(known).places(known, part)
        assert (
            places.tolist() == pc.fill_null(pc.index_in(part, value_set=known, skip_nulls=True), NOT_FOUND).to_pylist()
        )


@pytest.mark.parametrize("kept", [1, 3])
def test_strings_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(string_hashes, "hashes", lambda of: hashes(of) % np.uint64(kept))
    known = pc.unique(values(50))
    wanted = pa.concat_arrays([known, pa.array(["no", None, "u"])])
    assert StringHashes.of(known).places(known, wanted).tolist() == [*range(len(known)), *3 * [NOT_FOUND]]


def test_nothing_is_found_among_nothing() -> None:
    nothing = pa.array([], pa.string())
    assert StringHashes.of(nothing).places(nothing, pa.array(["a", None])).tolist() == [NOT_FOUND, NOT_FOUND]
    assert len(hashes(nothing)) == 0


def test_hashes_are_those_of_the_strings_wherever_they_stand() -> None:
    known = values(300)
    assert np.array_equal(hashes(known)[40:70], hashes(known[40:70]))
    assert len(np.unique(hashes(pc.unique(known)))) == len(pc.unique(known))
