"""Splits, worked by hand."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest

from data.dataset.split import (
    NO_VALIDATION,
    Boundaries,
    SplitConfig,
    SplitKind,
    assign,
    boundaries,
    check,
    notes,
    unused_notes,
)
from data.sequences.membership import last_copies
from data.sources.schema import SPLITS, DataError


def interactions(users: Iterable[int], times: Iterable[int], items: Iterable[int]) -> pa.Table:
    """A log without splits of its own."""
    table = pa.table({"user_row": users, "time": times, "item_row": items})
    return table.append_column("split", pa.nulls(len(table), pa.string()))


def test_temporal_shares_never_tear_a_second_apart() -> None:
    counts = pa.table({"time": [1, 2, 3, 4], "count": [5, 3, 1, 1]})
    config = SplitConfig(kind=SplitKind.temporal, validation_share=0.1, test_share=0.1)
    assert boundaries(config, counts) == Boundaries(3, 4)


def test_temporal_dates() -> None:
    config = SplitConfig(kind=SplitKind.temporal, validation_from="1970-01-02", test_from="1970-01-03")
    found = boundaries(config, pa.table({"time": [0], "count": [1]}))
    assert found == Boundaries(86_400, 172_800)


def test_temporal_assignment() -> None:
    table = pa.table({"user_row": [1, 1, 1], "time": [9, 10, 20], "split": pa.nulls(3, pa.string())})
    split = assign(table, SplitConfig(), Boundaries(10, 20))
    assert split.to_pylist() == ["train", "validation", "test"]


def test_leave_last_out_keeps_short_users_in_train() -> None:
    table = interactions([1, 1, 2, 2, 2, 2], range(6), range(6))
    split = assign(table, SplitConfig(kind=SplitKind.leave_last_out), None)
    assert split.to_pylist() == ["train", "train", "train", "train", "validation", "test"]


def test_temporal_by_user_takes_shares_of_each_user() -> None:
    users = [1] * 10 + [2] * 4 + [3] * 2
    table = interactions(users, range(16), range(16))
    config = SplitConfig(kind=SplitKind.temporal_by_user, validation_share=0.1, test_share=0.3)
    code = "".join(name[0].upper() if name != "test" else "X" for name in assign(table, config, None).to_pylist())
    assert code == "TTTTTTVXXX" + "TTVX" + "TT"


@pytest.mark.parametrize("kind", [SplitKind.leave_last_out, SplitKind.temporal_by_user])
def test_copies_of_an_interaction_are_in_one_part(kind: SplitKind) -> None:
    """Of an export that was joined twice, what was trained on was tested; masked as seen, such users were left out."""
    users, times, items = [1] * 8 + [2] * 3, [0, 1, 2, 3, 3, 3, 3, 3, 5, 6, 6], [9, 8, 7, 5, 4, 5, 4, 5, 1, 2, 2]
    found = assign(interactions(users, times, items), SplitConfig(kind=kind), None).to_pylist()
    assert found[:3] == found[8:9] * 3 == ["train"] * 3
    assert found[3:8] == ["test", "validation", "test", "validation", "test"]
    assert found[9:] == ["train"] * 2, "two interactions of this user are too few to hold one out"
    nothing = interactions([1], [1], [1]).slice(1)
    assert len(assign(nothing, SplitConfig(kind=kind), None)) == 0


def test_copies_are_counted_by_user_item_and_time() -> None:
    random = np.random.default_rng(0)
    columns = [random.integers(0, most, 500) for most in (6, 8, 5)]
    users, times, items = (of[np.lexsort(columns[1::-1])] for of in columns)
    wanted = {key: at for at, key in enumerate(zip(users, times, items, strict=True))}
    assert last_copies(users, times, items).tolist() == [wanted[key] for key in zip(users, times, items, strict=True)]
    (note,) = notes({"train": 3, "validation": 1, "test": 1}, dict.fromkeys(SPLITS, np.ones(1, np.int64)), 2)
    assert note.startswith("2 of 5 interactions repeat user, item and time of another")


def test_given_is_taken_as_it_is() -> None:
    table = pa.table({"user_row": [1, 1], "time": [0, 1], "split": ["test", "train"]})
    assert assign(table, SplitConfig(kind=SplitKind.given), None).to_pylist() == ["test", "train"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test_share": 1.0}, "test_share: 1.0"),
        ({"validation_share": 0.5, "test_share": 0.5}, "something to train on"),
        ({"test_share": 0.0}, r"data\.split\.test_share: 0 leaves no test part .* train\.fit_on=all learns"),
        ({"test_from": "2024-01-01"}, "both validation_from and test_from"),
        ({"validation_from": "soon", "test_from": "later"}, "'soon' is no ISO date"),
        ({"validation_from": "2024-02-01", "test_from": "2024-01-01"}, "not be later"),
        (
            {"kind": SplitKind.leave_last_out, "validation_from": "2024-01-01", "test_from": "2024-02-01"},
            r"data\.split\.validation_from: 2024-01-01 .*kind=temporal alone, and the kind is leave_last_out",
        ),
    ],
)
def test_nonsense_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitConfig(**values)


def test_a_split_of_the_log_that_is_not_used_is_said() -> None:
    """Such as of a public log, of which another split is measured on purpose."""
    (note,) = unused_notes(SplitKind.leave_last_out, "data.source.test")
    assert note.startswith("data.source.test: the log's own split is not used, because data.split.kind is leave_last_o")
    assert not unused_notes(SplitKind.given, "data.source.test") + unused_notes(SplitKind.temporal, None)


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(DataError, match="no test interactions"):
        check({"train": 3, "validation": 0, "test": 0})


def test_a_part_of_users_who_are_new_in_it_is_named() -> None:
    """Such as of sessions, under one boundary in time: each epoch of a training had the same value, and the first one's
    weights were kept."""
    counts = {"train": 20, "validation": 20, "test": 20}
    train, validation, test = (np.zeros(60, np.int64) for _ in range(3))
    train[:20], validation[20:40], test[38:58] = 1, 1, 1
    found = notes(counts, {"train": train, "validation": validation, "test": test})
    assert [line.partition(":")[0] for line in found] == [
        "20 of 20 users of the validation part have no interaction before it",
        "18 of 20 users of the test part have no interaction before it",
    ]
    train[18:24] = 1
    assert len(notes(counts, {"train": train, "validation": validation, "test": test})) == 1
    assert notes(counts | {"validation": 0}, {"train": train, "validation": train * 0, "test": train}) == [
        NO_VALIDATION
    ]
