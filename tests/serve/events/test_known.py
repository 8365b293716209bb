"""What events add to a query, and that the endpoint encodes a user as training does."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from conf.schema import Config
from data.sequences.histories import Sequences
from serve.api.adapter import RequestAdapter
from serve.api.events.known import with_state
from serve.api.schemas import RecommendRequest
from serve.events.config import EventsConfig
from serve.events.event import MICROS
from serve.events.sqlite_store import SqliteStore
from serve.events.state import UserState
from serve.pipeline.messages import Query, UserVector
from serve.pipeline.retriever import excluded_rows
from serve.pipeline.user_encoder import UserEncoder
from serve.releases.release import Release, log_read_us
from tests.conformance.events import config, event, now_us
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import embed


@pytest.fixture(scope="module")
def adapter(release: Release, tiny: Config) -> RequestAdapter:
    return RequestAdapter(release, tiny.serve.num_candidates)


@pytest.fixture
def values(tmp_path: Path) -> EventsConfig:
    return config(path=str(tmp_path / "state.sqlite"))


def ids(release: Release, rows: list[int]) -> list[str]:
    found: list[str] = release.parts.items.ids.ids(np.array(rows)).to_pylist()
    return found


def state_of(values: EventsConfig, user_id: str, item_ids: list[str], **fields: object) -> UserState:
    store, base = SqliteStore(values), now_us() - 600 * MICROS
    # as they may arrive: the latest first
    for number, item_id in reversed(list(enumerate(item_ids))):
        store.append([event(f"{user_id}-{number}", user_id, item_id, time_us=base + number * MICROS, **fields)])
    (state,) = store.read([user_id])
    store.close()
    return state


def asked(adapter: RequestAdapter, **fields: object) -> tuple[RecommendRequest, Query]:
    request = RecommendRequest.model_validate(fields)
    return request, adapter.query(request)[0]


async def test_the_user_vector_is_that_of_training_on_the_same_events(
    release: Release, adapter: RequestAdapter, values: EventsConfig, known_user: str
) -> None:
    """A known user with a longer history, and one who is known by events alone."""
    parts, new = release.parts, [3, 9, 3, 17, 4]
    encoder = UserEncoder(release.id, parts)
    for user_id in (known_user, "nobody"):
        row = parts.users.ids.row(user_id)
        _, query = asked(adapter, user_id=user_id)
        query = with_state(query, state_of(values, user_id, ids(release, new)), {}, adapter, values)
        found = await encoder(query)
        items_N = np.concatenate([parts.seen.of_user(row), new]).astype(np.int32)
        offsets = np.where(np.arange(len(parts.users.ids) + 1) > row, len(items_N), 0)
        trained = HeldOut(np.array([row]), (np.zeros(0, np.int64), np.zeros(0, np.int64)), Sequences(offsets, items_N))
        wanted = embed(parts.model, trained, batch_size=1)
        assert found.history.tolist() == items_N.tolist()
        assert found.vector_D is not None
        np.testing.assert_allclose(found.vector_D, wanted.user_QD[0].numpy(), atol=1e-6)


def test_the_state_and_the_request_add_to_the_query(
    release: Release, adapter: RequestAdapter, values: EventsConfig
) -> None:
    state = state_of(values, "u", [*ids(release, [3, 9]), "not in the release"], type="view")
    request, query = asked(adapter, history=ids(release, [9, 4]), exclude=ids(release, [5]), user_id="u")
    found = with_state(query, state, request.context, adapter, values)
    assert (found.recent, found.history, found.seen) == ((3, 9), (4,), (9,)), "viewed, and named by the request"
    without = excluded_rows(query, UserVector("r", None, np.array(query.history))).tolist()
    excluded = excluded_rows(found, UserVector("r", None, np.array([3, 9, 4]))).tolist()
    assert excluded == without == [4, 5, 9], "an event takes nothing back"
    assert found.exclude == query.exclude
    clicked = with_state(query, state_of(values, "v", ids(release, [7])), {}, adapter, values)
    assert (clicked.recent, clicked.seen) == ((7,), (7,))


def test_context_that_the_request_lacks_is_that_of_the_last_event(
    release: Release, adapter: RequestAdapter, values: EventsConfig
) -> None:
    evening, morning = ({"daypart": part} for part in ("evening", "morning"))
    state = state_of(values, "u", ids(release, [3]), context=evening)
    for context, wanted in (({}, evening), (morning, morning), ({"mood": "good"}, evening)):
        request, query = asked(adapter, user_id="u", context=context)
        found = with_state(query, state, request.context, adapter, values)
        assert found.context == adapter.context_rows(wanted) != adapter.context_rows({})


def test_of_a_forgotten_user_the_release_knows_nothing_either(
    adapter: RequestAdapter, values: EventsConfig, known_user: str
) -> None:
    """Whoever was forgotten after the log was read, also where the release is made later, is in its histories."""
    _, query = asked(adapter, user_id=known_user)
    dataset_us = int(adapter.manifest["dataset"]["log_read_us"])
    assert dataset_us == adapter.log_read_us
    assert dataset_us < datetime.fromisoformat(adapter.manifest["created_at"]).timestamp() * MICROS - 1
    before, after = (UserState(forgotten_us=adapter.log_read_us + by) for by in (-1, 1))
    assert with_state(query, before, {}, adapter, values).user_id == known_user
    assert with_state(query, after, {}, adapter, values).user_id is None


def test_of_a_release_that_does_not_say_when_its_log_was_read_the_earliest_moment_counts() -> None:
    created = {"created_at": "2026-01-31T09:00:00+00:00", "dataset": {}}
    created_us = int(datetime.fromisoformat("2026-01-31T09:00:00+00:00").timestamp()) * MICROS
    assert log_read_us(created) == created_us
    assert log_read_us(created | {"newest_interaction": 1_700_000_000}) == 1_700_000_000 * MICROS
    until = {"dataset": {"events_until_us": 1_690_000_000 * MICROS}}
    assert log_read_us(created | {"newest_interaction": 1_700_000_000} | until) == 1_690_000_000 * MICROS
    assert log_read_us(created | {"newest_interaction": 5} | {"dataset": {"log_read_us": 7}}) == 7
