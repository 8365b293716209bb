"""Who posts events, and trains on a log of one's own that has them too, has each of them once in a user's history."""

from dataclasses import replace

import numpy as np
import pytest

from serve.api.adapter import RequestAdapter
from serve.api.events.known import with_state
from serve.api.schemas import RecommendRequest
from serve.events.event import MICROS
from serve.events.state import ReleasedEvents, UserState
from serve.pipeline.messages import Query
from serve.pipeline.released_history import without_released
from serve.pipeline.retriever import excluded_rows
from serve.pipeline.user_encoder import UserEncoder
from serve.releases.release import Release
from tests.conformance.events import config, event


@pytest.mark.parametrize(
    ("num_doubtful", "released", "kept"),
    [
        (3, [5, 6, 7], [2, 3]),
        (3, [5, 5, 9, 6], [3]),
        (4, [2], [0, 1, 2]),
        (3, [2], [0, 1, 2, 3]),
        (0, [5, 6, 5, 2], [0, 1, 2, 3]),
        (4, [], [0, 1, 2, 3]),
    ],
    ids=["once each", "twice", "the last one", "not in doubt", "none in doubt", "nothing released"],
)
def test_an_item_is_left_out_as_often_as_the_release_has_it(
    num_doubtful: int, released: list[int], kept: list[int]
) -> None:
    recent, times = (5, 6, 5, 2), (10, 20, 30, 40)
    query = Query(release_id="r", user_id="u", k=1, num_candidates=1, recent=recent, num_doubtful=num_doubtful)
    for of in ((), times):
        found = without_released(replace(query, recent_times=of), np.array(released, np.int32))
        assert found.recent == tuple(recent[n] for n in kept)
        assert found.recent_times == tuple(of[n] for n in kept if of)


async def test_events_that_the_log_of_the_release_has_do_not_count_again(release: Release, known_user: str) -> None:
    parts, adapter, values = release.parts, RequestAdapter(release, 100), config()
    until_s = release.manifest["dataset"]["histories_until_s"]
    assert adapter.released_events == ReleasedEvents(log_until_s=until_s)
    own = parts.history.of_user(parts.users.ids.row(known_user)).tolist()
    lacking, new = next(row for row in range(1, 200) if row not in own), own[0]
    happened = [*((row, until_s - len(own) + n) for n, row in enumerate(own)), (lacking, until_s), (new, until_s + 1)]
    ids = parts.items.ids.ids(np.array([row for row, _ in happened])).to_pylist()
    events = [
        event(str(n), known_user, id_, time_us=at * MICROS + 500)
        for n, (id_, (_, at)) in enumerate(zip(ids, happened, strict=True))
    ]
    state = UserState().with_events([(sent, (until_s + 60) * MICROS) for sent in events], values)
    query, _ = adapter.query(RecommendRequest(user_id=known_user))
    query = with_state(query, state, {}, adapter, values)
    served = await UserEncoder(release.id, parts)(query)
    assert served.history.tolist() == [*own, lacking, new], "what the log lacks, and what came after it"
    assert set(own) <= set(excluded_rows(query, served).tolist())
