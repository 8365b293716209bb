"""What a request's own values cause is refused or ignored, and counts against no breaker."""

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.sources.feature_kinds.kind import FeatureKind
from serve.api.adapter import FieldError, RequestAdapter
from serve.api.feature_values import checked_features
from serve.api.schemas import RecommendRequest, SimilarRequest
from serve.pipeline.breaker import CircuitBreaker, State
from serve.pipeline.budget import BudgetLimits, RequestBudget
from serve.pipeline.messages import UnusableValue
from serve.pipeline.user_encoder import UserEncoder
from serve.releases.release import Release

NUMBERS = st.one_of(
    st.floats(allow_nan=False), st.integers(-(2**70), 2**70), st.sampled_from([1e200, -1e300, 5e-324, 2**53 + 1, -0.0])
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "year": NUMBERS,
        "length": NUMBERS,
        "studio": st.text(max_size=20),
        "genres": st.lists(st.text(max_size=5), max_size=5),
    },
).filter(bool)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(features=VALUES)
def test_features_are_refused_at_the_door_or_encoded(release: Release, features: dict[str, Any]) -> None:
    adapter, encoder = RequestAdapter(release, num_candidates=100), UserEncoder(release.id, release.parts)
    try:
        query, _ = adapter.similar(SimilarRequest(features=features))
    except FieldError as e:
        assert any(name in str(e) for name in features)
        return
    vector_D = asyncio.run(encoder.describe(query))
    assert vector_D is None or np.isfinite(vector_D).all()


@pytest.mark.parametrize("text", ["One line.\nAnother\tone.", "東京\u3000タワー", "👩\u200d🚀", "a\u00a0b\u00ad"])
def test_a_text_is_taken_as_a_log_has_it(text: str) -> None:
    kinds = {"says": FeatureKind.text, "brand": FeatureKind.categorical, "tags": FeatureKind.multi_categorical}
    given = {"says": text, "brand": text, "tags": [text]}
    assert checked_features(given, kinds) == given


def test_a_vector_of_another_length_is_refused_by_its_name() -> None:
    kinds, lengths = {"picture": FeatureKind.vector}, {"picture": 3}
    for vector in ([0.5, 1, 0], [], None):
        assert checked_features({"picture": vector}, kinds, lengths) == {"picture": vector}
    with pytest.raises(ValueError, match=r"^features.picture: must be a list of 3 numbers, .*; it has 2$"):
        checked_features({"picture": [0.5, 1]}, kinds, lengths)


async def test_a_value_that_a_stage_cannot_use_opens_no_breaker() -> None:
    async def refuse() -> None:
        raise UnusableValue("features: 1e999")

    breaker = CircuitBreaker(failures=1, pause_s=60)
    budget = RequestBudget.start(BudgetLimits(1.0, 0.1, {"describe": breaker}))
    for _ in range(10):
        assert await budget.run_stage("describe", refuse) is None
    assert breaker.state is State.closed
    assert set(budget.reasons) == {"describe_failed"}


async def test_the_time_of_a_request_runs_from_its_arrival() -> None:
    arrived = asyncio.get_running_loop().time() - 1.0
    budget = RequestBudget.start(BudgetLimits(0.5, 0.1, {"embed": CircuitBreaker(5, 1.0)}, arrived))
    assert await budget.run_stage("embed", lambda: asyncio.sleep(0.01)) is None
    assert budget.reasons == ["embed_late"]


def test_an_unknown_id_is_reported_once(release: Release) -> None:
    request = RecommendRequest(user_id="u", history=["what"] * 100, exclude=["what", "ever"])
    assert RequestAdapter(release, num_candidates=100).query(request)[1]["unknown_items"] == ["what", "ever"]


@pytest.mark.parametrize("value", [2**53 + 1, 1e200, -1e200, 1])
def test_large_numbers_are_numbers(release: Release, value: float) -> None:
    adapter, encoder = RequestAdapter(release, num_candidates=100), UserEncoder(release.id, release.parts)
    query, _ = adapter.similar(SimilarRequest(features={"year": value}))
    vector_D = asyncio.run(encoder.describe(query))
    assert vector_D is not None
    assert np.linalg.norm(vector_D) == pytest.approx(1, abs=1e-4)
