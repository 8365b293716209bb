"""Queries are found part by part: those of all interactions at once, and a sample holds its own users' items alone."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from data.sources.schema import SPLITS
from towers.evaluation import queries
from towers.evaluation.config import SeenItems
from towers.evaluation.queries import HeldOut, HeldOutInteractions, check_queries

USERS_PER_PART = 40


@pytest.fixture
def divided(dataset: PreparedDataset, tmp_path: Path) -> PreparedDataset:
    """The same dataset in parts of few users; one of them has nothing but a train split."""
    return in_parts(dataset, Folder.of(str(tmp_path)))


def in_parts(dataset: PreparedDataset, folder: Folder, **as_split: str) -> PreparedDataset:
    """A dataset in parts of few users; splits in `as_split` have the interactions of the split that it names."""
    files = []
    for split in SPLITS:
        table = dataset.interactions(as_split.get(split, split))
        part_N = table["user_row"].to_numpy() // USERS_PER_PART
        for number in range(part_N.max() + 1):
            if split == "train" or number != 2:
                files.append(f"interactions/split={split}/part-{number:05d}.parquet")
                folder.write_table(files[-1], table.filter(pa.array(part_N == number)))
    for name in ("users.parquet", "items.parquet"):
        folder.share(name, dataset.folder)
    return PreparedDataset(folder, dataset.manifest | {"files": dict.fromkeys(files, "")})


@pytest.mark.parametrize("seen", SeenItems)
@pytest.mark.parametrize("split", ["validation", "test"])
def test_queries_are_those_of_all_interactions(divided: PreparedDataset, split: str, seen: SeenItems) -> None:
    found = HeldOut.of(divided, split, seen)
    before = ("train",) if split == "validation" else ("train", "validation")
    pairs, earlier = (
        set(zip(table["user_row"].to_pylist(), table["item_row"].to_pylist(), strict=True))
        for table in (divided.interactions(split), divided.interactions(*before))
    )
    wanted = sorted(pairs if seen is SeenItems.keep else pairs - earlier)
    query_N, items_N = found.relevant
    assert list(zip(found.user_rows_Q[query_N].tolist(), items_N.tolist(), strict=True)) == wanted
    assert (np.diff(found.user_rows_Q) > 0).all()
    rows = divided.interactions(split)
    first_of = dict(reversed(list(zip(rows["user_row"].to_pylist(), rows["context"].to_pylist(), strict=True))))
    assert found.context_Q is not None
    assert found.context_Q.to_pylist() == [first_of[row] for row in found.user_rows_Q.tolist()]
    interactions = HeldOutInteractions.of(divided, split, found)
    users = found.user_rows_Q[interactions.query_N].tolist()
    assert set(zip(users, interactions.item_rows_N.tolist(), strict=True)) == set(wanted)


def test_of_many_seen_items_the_latest_alone_are_masked(
    dataset: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "LATEST", 2)
    repeated = in_parts(dataset, Folder.of(str(tmp_path)), validation="train")
    found = HeldOut.of(repeated, "validation", SeenItems.mask_200)
    of_user: dict[int, list[int]] = {}
    rows = repeated.interactions("train")
    for user, item in zip(rows["user_row"].to_pylist(), rows["item_row"].to_pylist(), strict=True):
        of_user.setdefault(user, []).append(item)
    for user in found.user_rows_Q.tolist():
        assert found.seen.of_user(user).tolist() == of_user.get(user, [])[-2:]
        assert found.history.of_user(user).tolist() == of_user.get(user, [])
    held_out = repeated.interactions("validation")
    pairs = set(zip(held_out["user_row"].to_pylist(), held_out["item_row"].to_pylist(), strict=True))
    wanted = sorted((user, item) for user, item in pairs if item not in of_user[user][-2:])
    query_N, items_N = found.relevant
    assert list(zip(found.user_rows_Q[query_N].tolist(), items_N.tolist(), strict=True)) == wanted != []
    assert not len(HeldOut.of(repeated, "validation").relevant[0])


def test_the_latest_items_are_not_told_of_a_log_with_event_types(divided: PreparedDataset) -> None:
    types = {"types": [{"name": "buy", "sign": "positive"}], "positive_from": None}
    with pytest.raises(ConfigError, match=r"evaluate\.seen: mask_200 .* without event types; set data\.positive_from"):
        check_queries(PreparedDataset(divided.folder, divided.manifest | {"event_types": types}), SeenItems.mask_200)


def test_a_sample_is_drawn_as_from_all_queries_and_holds_its_own_users_alone(divided: PreparedDataset) -> None:
    every = HeldOut.of(divided, "test")
    drawn, found = every.sample(30), HeldOut.of(divided, "test", most=30)
    assert (drawn.user_rows_Q == found.user_rows_Q).all()
    assert [(a == b).all() for a, b in zip(drawn.relevant, found.relevant, strict=True)] == [True, True]
    assert drawn.context_Q is not None and drawn.context_Q.equals(found.context_Q)
    assert drawn.sampled_from == found.sampled_from == len(every.user_rows_Q)
    assert (found.history.last(found.user_rows_Q, 50) == every.history.last(found.user_rows_Q, 50)).all()
    assert len(found.seen.items_N) == every.seen.lengths_U[found.user_rows_Q].sum() < len(every.seen.items_N)
    assert HeldOut.of(divided, "test", most=10**6).sampled_from is None


def test_the_histories_of_users_who_are_no_queries_are_not_held(divided: PreparedDataset) -> None:
    """All users' were, which is the size of the log in the commanding process; few users have new items in a month."""
    found = HeldOut.of(divided, "test", beside=("times",))
    every = divided.sequences("train", "validation")
    asked = found.history.lengths_of(found.user_rows_Q)
    assert (asked == every.lengths_of(found.user_rows_Q)).all()
    assert len(found.history.items_N) == asked.sum() < len(every.items_N)
