"""The same events, with times and types, give the same user vector in training and at the endpoint."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.artifacts.folders import Folder
from data.dataset.catalogue import Catalogue
from data.sequences.histories import TIME, TYPE, Sequences
from serve.api.events.known import with_state
from serve.events.config import EventsConfig
from serve.events.event import MICROS
from serve.events.sqlite_store import SqliteStore
from serve.events.state import NONE_RELEASED
from serve.pipeline.messages import Query
from serve.pipeline.user_encoder import KnownUser, UserEncoder
from tests.conformance.events import config, event, now_us
from tests.towers.model.test_two_tower import DIM, ITEMS, USERS, side
from towers.checkpoint.histories import of_tensors, write_histories
from towers.checkpoint.tensor_files import mapped_tensors
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import embed
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.history.time_modes import HistoryTime

DAY, LENGTH, NAMES = 86_400, 6, ("click", "view")
NOW = now_us() // MICROS
IDS = [f"i{n}" for n in range(1, ITEMS)]
RELEASED = pa.table(
    {
        "user_row": pa.array([1, 1, 1, 2], pa.int32()),
        "item_row": pa.array([3, 4, 3, 7], pa.int32()),
        "time": [NOW - 30 * DAY, NOW - 3 * DAY, NOW - 3 * DAY + 50, NOW - DAY],
        "type": pa.array([0, 1, 0, 1], pa.int16()),
    }
)
BESIDE = ("time", "type")
MODES = [
    ("transformer", HistoryTime.rotary),
    ("transformer", HistoryTime.bias),
    ("transformer", HistoryTime.none),
    ("pooled", HistoryTime.recency),
]


def parts_of(history: str, time: HistoryTime) -> Any:
    values = ModelConfig(
        embedding_dim=DIM, history=history, history_time=time, history_types=True, history_length=LENGTH
    )
    model = build_model(values, side(USERS), side(ITEMS), seed=0, event_types=NAMES).eval()
    for name, weight in model.named_parameters():
        if "event_types" in name or "time_bias" in name:  # as if it was trained: they start without effect
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    items = Catalogue("item_id", pa.table({"item_id": IDS}), ())
    users = Catalogue("user_id", pa.table({"user_id": [f"u{n}" for n in range(1, USERS)]}), ())
    sequences = Sequences.of(RELEASED, USERS, BESIDE)
    return SimpleNamespace(
        model=model, items=items, users=users, history=sequences, seen=sequences, manifest={"item_scales": {}}
    )


def adapter_of(parts: Any) -> Any:
    """What `with_state` needs of a release's adapter."""
    ids = parts.items.ids
    return SimpleNamespace(
        items=ids,
        type_rows=parts.model.event_type_rows,
        history_columns=parts.model.config.history_columns,
        released_events=NONE_RELEASED,
        log_read_us=0,
        known_rows=lambda of: tuple(row for id_ in of if (row := ids.row(id_))),
        context_rows=lambda of: (),
    )


def trained(parts: Any, row: int, more: list[tuple[int, int, int | None]]) -> np.ndarray:
    """The vector by the path of training, of the log with these items, times and codes of types after it."""
    added = [{"user_row": row, "item_row": item, "time": time, "type": code} for item, time, code in more]
    log = pa.concat_tables([RELEASED, pa.Table.from_pylist(added, schema=RELEASED.schema)])
    log = log.sort_by([("user_row", "ascending"), ("time", "ascending")])
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    held_out = HeldOut(np.array([row], np.int32), nothing, Sequences.of(log, USERS, BESIDE))
    return embed(parts.model, held_out, batch_size=1).user_QD[0].numpy()


def asked(user_id: str | None, history: tuple[int, ...] = ()) -> Query:
    return Query(release_id="r", user_id=user_id, k=5, num_candidates=10, history=history)


@pytest.fixture
def values(tmp_path: Path) -> EventsConfig:
    return config(path=str(tmp_path / "state.sqlite"))


@pytest.mark.parametrize(("history", "time"), MODES)
async def test_events_of_the_endpoint_are_as_in_training(values: EventsConfig, history: str, time: HistoryTime) -> None:
    parts = parts_of(history, time)
    happened = [("i5", NOW - 7200, "view"), ("i8", NOW - 60, "click"), ("none", NOW - 50, "click"), ("i9", NOW, "like")]
    for user_id in ("u1", "u3"):  # with a history in the release, and without
        store = SqliteStore(values)
        for number, (item_id, at, type_) in reversed(list(enumerate(happened[:3]))):
            sent = event(f"{user_id}-{number}", user_id, item_id, type_, time_us=at * MICROS + number)
            store.append([sent])
        (state,) = store.read([user_id])
        store.close()
        encoder = UserEncoder("r", parts, clock=lambda: NOW)
        query = with_state(asked(user_id), state, {}, adapter_of(parts), values)
        needed = parts.model.config.history_columns
        assert query.recent_times == ((NOW - 7200, NOW - 60) if TIME in needed else ())
        assert query.recent_types == ((2, 1) if TYPE in needed else ())
        served = await encoder(query)
        assert served.vector_D is not None
        row = parts.users.ids.row(user_id)
        wanted = trained(parts, row, [(5, NOW - 7200, 1), (8, NOW - 60, 0)])
        np.testing.assert_allclose(served.vector_D, wanted, atol=1e-6)
        named = with_state(asked(user_id, (9, 2, 5)), state, {}, adapter_of(parts), values)
        served = await encoder(named)
        wanted = trained(parts, row, [(5, NOW - 7200, 1), (8, NOW - 60, 0), (9, NOW, None), (2, NOW, None)])
        np.testing.assert_allclose(served.vector_D, wanted, atol=1e-6)


@pytest.mark.parametrize(("history", "time"), MODES)
async def test_items_that_a_request_names_are_taken_now(history: str, time: HistoryTime) -> None:
    parts = parts_of(history, time)
    for now in (NOW, 5):  # an endpoint whose clock is behind takes the latest time that it knows
        served = await UserEncoder("r", parts, clock=lambda now=now: now)(asked("u1", (9, 2)))  # type: ignore[misc]
        at = max(now, NOW - 3 * DAY + 50)
        wanted = trained(parts, 1, [(9, at, None), (2, at, None)])
        np.testing.assert_allclose(served.vector_D, wanted, atol=1e-6)
    early, late = [
        await UserEncoder("r", parts, clock=lambda now=now: now)(asked(None, (9, 2)))  # type: ignore[misc]
        for now in (NOW, NOW + 99 * DAY)
    ]
    np.testing.assert_allclose(early.vector_D, late.vector_D, atol=1e-6)


def test_without_times_and_types_all_are_of_one_time_and_no_type() -> None:
    parts = parts_of(*MODES[0])
    history = np.array([3, 4, 5])
    without, same = UserEncoder("r", parts).vectors(
        [KnownUser(1, history), KnownUser(1, history, (), np.full(3, NOW), np.zeros(3, np.int64))]
    )
    np.testing.assert_allclose(without, same, atol=1e-6)
    (other,) = UserEncoder("r", parts).vectors([KnownUser(1, history, (), np.array([NOW - DAY, NOW, NOW]))])
    assert not np.allclose(without, other, atol=1e-4)


async def test_a_release_keeps_the_moments_of_its_histories(tmp_path: Path) -> None:
    parts, folder = parts_of(*MODES[0]), Folder.of(str(tmp_path))
    write_histories(folder, "sequences.safetensors", USERS, [parts.history.as_part()], beside=("time", "type"))
    history, seen = of_tensors(mapped_tensors(folder, "sequences.safetensors"))
    before = await UserEncoder("r", parts)(asked("u1"))
    parts.history = parts.seen = history
    after = await UserEncoder("r", parts)(asked("u1"))
    assert seen is history
    np.testing.assert_array_equal(before.vector_D, after.vector_D)
    write_histories(folder, "without.safetensors", USERS, [Sequences.of(RELEASED, USERS).as_part()])
    without = mapped_tensors(folder, "without.safetensors")
    assert without.keys() == {"offsets_U1", "items_N"}, "as earlier versions wrote it"
    assert of_tensors(without)[0].times_N is None
