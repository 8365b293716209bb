"""A dataset is read in parts of whole users: the same sequences as from all interactions at once, in less memory."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from data.dataset.schema import INTERACTIONS
from data.sequences import histories
from data.sequences.histories import TIME, TYPE, Sequences

NUM_USERS, PER_PART, SPLITS = 5_000, 250, ("train", "validation")


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """The files of a prepared dataset of many parts; some users are in one split only, and some in none."""
    folder, random = Folder.of(str(tmp_path_factory.mktemp("divided"))), np.random.default_rng(0)
    files, counts = [], {}
    for split, mean in zip(SPLITS, (60, 3), strict=True):
        of_user_U = random.poisson(mean, NUM_USERS) * (random.random(NUM_USERS) < 0.8)
        users_N = 1 + np.repeat(np.arange(NUM_USERS), of_user_U)
        counts[split] = len(users_N)
        table = pa.table(
            {
                "user_row": users_N,
                "item_row": random.integers(1, 1000, len(users_N)),
                "time": random.integers(0, 1 << 40, len(users_N)),
                "weight": np.ones(len(users_N)),
                "position": np.zeros(len(users_N)),
                "context": pa.nulls(len(users_N)),
                "type": pa.array(random.integers(0, 3, len(users_N)), mask=random.random(len(users_N)) < 0.1),
            }
        ).cast(pa.schema([field.with_nullable(True) for field in INTERACTIONS]))
        for number in range(NUM_USERS // PER_PART):
            rows = table.filter(pa.array((users_N - 1) // PER_PART == number)).cast(INTERACTIONS)
            files.append(f"interactions/split={split}/part-{number:05d}.parquet")
            folder.write_table(files[-1], rows)
    ids = pa.table({"row": np.arange(1, NUM_USERS + 1), "user_id": [f"u{n:05d}" for n in range(NUM_USERS)]})
    folder.write_table("users.parquet", ids)
    return PreparedDataset(folder, {"files": dict.fromkeys(files, ""), "counts": counts, "user_features": []})


@pytest.mark.parametrize("splits", [("train",), ("validation",), SPLITS])
def test_sequences_of_parts_are_those_of_all_interactions(divided: PreparedDataset, splits: tuple[str, ...]) -> None:
    found = divided.sequences(*splits, beside=(TIME, TYPE))
    table = divided.interactions(*splits)
    users = table["user_row"].to_numpy()
    order = np.argsort(users, kind="stable")
    assert (found.lengths_U == np.bincount(users, minlength=NUM_USERS + 1)).all()
    assert (found.items_N == table["item_row"].to_numpy()[order]).all()
    assert found.times_N is not None and (found.times_N == table["time"].to_numpy()[order]).all()
    types = np.nan_to_num(table["type"].to_numpy(), nan=-1).astype(int) + 1
    assert found.types_N is not None and (found.types_N == types[order]).all()
    assert (found.items_N.dtype, found.times_N.dtype, found.types_N.dtype) == (np.int32, np.int64, np.int16)


def test_sequences_of_some_users(divided: PreparedDataset) -> None:
    wanted = np.random.default_rng(1).random(NUM_USERS + 1) < 0.01
    every, some = divided.sequences(*SPLITS), divided.sequences(*SPLITS, users_U=wanted)
    assert (some.lengths_U == np.where(wanted, every.lengths_U, 0)).all()
    for user in np.flatnonzero(wanted):
        assert (some.of_user(user) == every.of_user(user)).all()


def test_sequences_take_little_memory_beside_themselves(divided: PreparedDataset) -> None:
    """Made of all interactions at once, they took five times as much."""
    divided.users  # noqa: B018
    taken: list[int] = []
    for _ in range(3):  # the memory pool is that of the process: other threads give and take meanwhile
        tracemalloc.start()
        arrow_before = pa.default_memory_pool().bytes_allocated()
        found = divided.sequences(*SPLITS)
        taken.append(pa.default_memory_pool().bytes_allocated() - arrow_before)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    held = found.items_N.nbytes + found.offsets_U1.nbytes
    assert min(taken) < held / 10
    assert peak < 1.5 * held


def test_no_memory_is_asked_for_by_a_bound_that_is_far_too_high(
    divided: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items of some users were given room for those of all: of a log larger than the machine, it was refused."""
    parts = list(divided.parts(*SPLITS, columns=["user_row", "item_row", "time"]))
    wanted = divided.sequences(*SPLITS, beside=(TIME,))
    for at_first in (histories.AT_FIRST, 7, 100_000):
        monkeypatch.setattr(histories, "AT_FIRST", at_first)
        found = Sequences.of_parts(parts, NUM_USERS + 1, 1 << 50, (TIME,))
        assert (found.items_N == wanted.items_N).all() and (found.offsets_U1 == wanted.offsets_U1).all()
        assert found.times_N is not None and (found.times_N == wanted.times_N).all()


def test_parts_must_follow_one_another() -> None:
    parts = [pa.table({"user_row": [user], "item_row": [1]}) for user in (3, 2)]
    with pytest.raises(ValueError, match="a part begins with user row 2, and row 3 was in an earlier part"):
        Sequences.of_parts(parts, 5, 2)


def test_the_hundred_thousandth_part_comes_after_those_before_it() -> None:
    """By its name it came after part-10000: users of an earlier part then followed those of a later one."""
    numbers = [1, 9, 10_000, 99_999, 100_000, 100_001, 1_000_000]
    files = [f"interactions/split={split}/part-{number:05d}.parquet" for split in SPLITS for number in numbers]
    dataset = PreparedDataset(Folder.of("var"), {"files": dict.fromkeys(reversed(files), "")})
    assert [int(name[5:-8]) for name in dataset.part_names(*SPLITS)] == numbers
    assert [int(path.rpartition("-")[2][:-8]) for path in dataset.paths("train")] == numbers


class Listed(dict[str, str]):
    """The files of a manifest, which counts how often all of them are looked at."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return super().__iter__()


def test_the_files_of_a_part_are_found_without_a_look_at_all_others(divided: PreparedDataset) -> None:
    """Each part looked at the files of all, so that a pass took time by the square of the number of users."""
    files = Listed(divided.manifest["files"])
    dataset = PreparedDataset(divided.folder, divided.manifest | {"files": files})
    num_rows = sum(map(len, dataset.parts(*SPLITS, columns=["user_row"])))
    assert num_rows == sum(divided.manifest["counts"].values())
    assert sum(dataset.part_rows(name, *SPLITS) for name in dataset.part_names(*SPLITS)) == num_rows
    assert files.times == 2, "once for each list of the names"
