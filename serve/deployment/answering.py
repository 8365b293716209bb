"""The request answerer: chooses the release that answers a request, runs the pipeline, and records what came of it."""

import asyncio
import time
from dataclasses import replace
from typing import Any

from data.cluster.ray_compatibility.serve import serve_request_id
from serve.access.control import may
from serve.access.scopes import Scope
from serve.api.adapter import FieldError, RequestAdapter
from serve.api.events.known import user_json
from serve.api.limits import MAX_BATCH, MAX_ID
from serve.api.refusals import Late, NotFound, Stale
from serve.api.schemas import BatchRequest, RecommendRequest, SimilarRequest
from serve.deployment.answers.conversion import takes, to_query
from serve.deployment.answers.popular_items import PopularItems
from serve.deployment.answers.records import AnswerRecords
from serve.deployment.answers.rendered import Asked, Rendered
from serve.deployment.answers.user_state import state_reader
from serve.deployment.release_runtime import ReleaseRuntime
from serve.deployment.settings import ServeConfig, StalePointer
from serve.events.service import UserEvents
from serve.experiments.assignment import Assignment
from serve.observability.logs import log_degraded
from serve.observability.metrics import Metrics
from serve.pipeline.budget import BudgetLimits, RequestBudget
from serve.pipeline.messages import Response as Answer
from serve.pipeline.request import recommend, similar
from serve.rollout.follower import ReleaseFollower

POINTER_SHARE = 0.5
"""The largest share of a request's time that it waits for the storage to say what is live, where that is not known."""

LONGEST_SUFFIX = len(f".{MAX_BATCH - 1}")
"""Characters that the id of an answer of a batch has beside the id of the batch."""


class RequestAnswerer:
    """Answers the requests of an ingress replica. A request's deadline counts from the call of the method.

    Args:
        config: The deadlines, and what a stale pointer means.
        releases: The loaded releases, and which of them answers.
        metrics: Counts answers.
        records: Records the answers.
        popular: What is popular now.
        events: The states of users; None where events are off.
    """

    def __init__(
        self,
        config: ServeConfig,
        releases: ReleaseFollower[ReleaseRuntime],
        metrics: Metrics,
        records: AnswerRecords,
        popular: PopularItems,
        events: UserEvents | None = None,
    ) -> None:
        self._config = config
        self._releases = releases
        self._metrics = metrics
        self._records = records
        self._popular = popular
        self._events = events
        self._stage_s = {} if events is None else {"state": events.config.state_ms / 1000}

    async def live(self, timeout_ms: int | None = None) -> ReleaseRuntime:
        """Returns the live release.

        Args:
            timeout_ms: The timeout that the request names.

        Raises:
            Stale: It is refused to answer by an old reading of the pointer.
        """
        runtime = await self._releases.live(self._timeout_s(timeout_ms) * POINTER_SHARE)
        self._refuse_stale()
        return runtime

    async def recommend(self, request: RecommendRequest) -> dict[str, Any]:
        """Returns `serve.api.schemas.RecommendResponse` as JSON values; raises FieldError or Stale."""
        arrived, request_id = _now(), serve_request_id()
        asked = self._to_query(*await self._choose(request, request_id), request, request_id)
        return self._give(await self._recommend(asked, arrived))

    async def recommend_batch(self, batch: BatchRequest) -> dict[str, Any]:
        """Returns `serve.api.schemas.BatchResponse` as JSON values; each answer has a request id of its own."""
        arrived = _now()
        common = serve_request_id(MAX_ID - LONGEST_SUFFIX)
        ids = [f"{common}.{number}" for number in range(len(batch.requests))]
        chosen = [await self._choose(request, id_) for request, id_ in zip(batch.requests, ids, strict=True)]
        asked = [
            self._to_query(runtime, assignment, request, id_, "requests", number)
            for number, ((runtime, assignment), request, id_) in enumerate(
                zip(chosen, batch.requests, ids, strict=True)
            )
        ]
        answers = await asyncio.gather(*(self._recommend(each, arrived) for each in asked))
        return {"responses": [self._give(answer) for answer in answers]}

    async def similar(self, request: SimilarRequest) -> dict[str, Any]:
        """Returns `serve.api.schemas.SimilarResponse` as JSON values; raises FieldError or Stale."""
        arrived = _now()
        return await self._similar(request, await self.live(request.timeout_ms), arrived)

    async def similar_to_one(self, item_id: str, k: int) -> dict[str, Any]:
        """Returns the same for one item; raises NotFound if the live release does not have it, or Stale."""
        arrived = _now()
        runtime = await self.live()
        if not runtime.adapter.items.row(item_id):
            raise NotFound(f"item {item_id!r} is not in release {runtime.adapter.release_id}")
        return await self._similar(SimilarRequest.model_validate({"item_ids": [item_id], "k": k}), runtime, arrived)

    async def user(self, user_id: str, events: UserEvents) -> dict[str, Any]:
        """Returns `serve.api.events.schemas.UserResponse` as JSON values.

        Raises:
            EventsUnavailable, Late: What is known of the user is not known by the deadline.
            Stale: It is refused to answer by an old reading of the pointer.
        """
        arrived = _now()
        runtime, state = await asyncio.gather(self.live(), events.read_now(user_id, self._timeout_s(None)))
        is_forgotten = state.outlived(runtime.adapter.log_read_us)
        history = [] if is_forgotten else await self._release_history(runtime, user_id, arrived)
        return user_json(user_id, state, runtime.adapter, events.config, history)

    async def _release_history(self, runtime: ReleaseRuntime, user_id: str, arrived: float) -> list[str]:
        budget = RequestBudget.start(self._limits(None, runtime, arrived))
        history = await budget.run_stage("embed", lambda: runtime.release_history(user_id))
        if history is None:
            raise Late(f"the history of the user is not known now ({', '.join(budget.reasons)}), try again")
        return history

    async def _similar(self, request: SimilarRequest, runtime: ReleaseRuntime, arrived: float) -> dict[str, Any]:
        adapter, limits = runtime.adapter, self._limits(request.timeout_ms, runtime, arrived)
        query, unknown = to_query(adapter.similar, request)
        answer = adapter.without_denied(await similar(query, runtime.stages, self._popular.of(adapter, {}), limits))
        self._count(answer, None)
        request_id = serve_request_id()
        self._records.add_similar(adapter, answer, request_id, 1000 * (_now() - arrived))
        return adapter.answer(answer, unknown, request_id, stale=self._releases.is_stale)

    def _refuse_stale(self) -> None:
        if self._releases.is_stale and self._config.stale_pointer is StalePointer.refuse:
            raise Stale("the storage does not say what is live (serve.stale_pointer=refuse)")

    async def _choose(self, request: RecommendRequest, request_id: str) -> tuple[ReleaseRuntime, Assignment | None]:
        """Returns the release that answers, and its variant if an experiment runs.

        A user is always in the same variant; a request without a user id is in a variant by its request id.

        Raises:
            Stale: It is refused to answer by an old reading of the pointer.
        """
        wait_s = self._timeout_s(request.timeout_ms) * POINTER_SHARE
        chosen = await self._releases.choose(request.user_id or request_id, wait_s)
        self._refuse_stale()
        return chosen

    def _to_query(
        self,
        runtime: ReleaseRuntime,
        assignment: Assignment | None,
        request: RecommendRequest,
        request_id: str,
        *location: str | int,
    ) -> Asked:
        """Converts a request for the release that answers it; an error counts as that release's failure if it is one.

        Of a request that is refused, the release is to blame if the live one would take it.
        """
        started = time.perf_counter()
        try:
            query, unknown = to_query(runtime.adapter.query, request, *location)
        except Exception as e:
            if not isinstance(e, FieldError) or takes(self._releases.loaded, request, runtime):
                self._add_failure(assignment, runtime.adapter, request, request_id, started)
            raise
        asked = replace(query, explains_user=may(Scope.read_users))
        return Asked(runtime, assignment, request, request_id, asked, unknown)

    def _add_failure(
        self,
        assignment: Assignment | None,
        adapter: RequestAdapter,
        request: RecommendRequest,
        request_id: str,
        started: float,
    ) -> None:
        took_ms = 1000 * (time.perf_counter() - started)
        self._records.add_failure(assignment, adapter.release_id, request.user_id, request_id, took_ms)

    async def _recommend(self, asked: Asked, arrived: float) -> Rendered:
        started, runtime, request = time.perf_counter(), asked.runtime, asked.request
        try:
            limits = self._limits(request.timeout_ms, runtime, arrived)
            read_state = state_reader(asked, self._popular, self._events)
            fallback = self._popular.of(runtime.adapter, request.context)
            answer = await recommend(asked.query, runtime.stages, fallback, limits, read_state)
            return Rendered.of(asked, answer, self._releases.is_stale, 1000 * (time.perf_counter() - started))
        except Exception:
            self._add_failure(asked.assignment, runtime.adapter, request, asked.request_id, started)
            raise

    def _give(self, rendered: Rendered) -> dict[str, Any]:
        """Returns and records an answer that is sent now, without what was recalled while it waited for others."""
        sent = rendered.as_of_now()
        asked, adapter = sent.asked, sent.asked.runtime.adapter
        self._count(sent.answer, asked.request.user_id)
        self._records.add_recommended(
            adapter, asked.request, sent.answer, asked.request_id, asked.assignment, sent.took_ms
        )
        return sent.content

    def _timeout_s(self, timeout_ms: int | None) -> float:
        """Returns the timeout that a request names or the default, within the server's maximum."""
        return min(timeout_ms or self._config.timeout_ms, self._config.max_timeout_ms) / 1000

    def _limits(self, timeout_ms: int | None, runtime: ReleaseRuntime, arrived: float) -> BudgetLimits:
        min_stage_s = self._config.timeout_ms / 2000
        return BudgetLimits(self._timeout_s(timeout_ms), min_stage_s, runtime.breakers, arrived, self._stage_s)

    def _count(self, answer: Answer, user_id: str | None) -> None:
        self._metrics.record(answer)
        if answer.degraded:
            log_degraded(answer, user_id)


def _now() -> float:
    """Returns the time by the clock of the event loop, in seconds."""
    return asyncio.get_running_loop().time()
