"""What an ingress replica records of its answers: exposures of experiments, and decisions."""

from data.artifacts.folders import Folder
from serve.api.adapter import RequestAdapter
from serve.api.schemas import RecommendRequest
from serve.events.decisions.config import DecisionsConfig
from serve.events.decisions.recorder import DecisionRecorder
from serve.experiments.assignment import Assignment
from serve.experiments.exposures import ExposureLog
from serve.pipeline.messages import Response as Answer


class AnswerRecords:
    """The exposure log and the decision log of a replica. The `add` methods run on the request path, and only append.

    Args:
        storage: The storage root.
        replica: A unique name of this replica.
        decisions: Which answers are recorded as decisions.
    """

    def __init__(self, storage: Folder, replica: str, decisions: DecisionsConfig) -> None:
        self._exposures = ExposureLog(storage, replica)
        self._decisions = DecisionRecorder(decisions, storage, replica)

    def add_recommended(
        self,
        adapter: RequestAdapter,
        request: RecommendRequest,
        answer: Answer,
        request_id: str,
        assignment: Assignment | None,
        took_ms: float,
    ) -> None:
        """Records the answer to a request for recommendations."""
        self._decisions.add(
            answer,
            adapter.items.ids,
            request_id,
            took_ms,
            user_id=request.user_id,
            context=request.context,
            experiment=None if assignment is None else assignment.experiment.name,
            variant=None if assignment is None else assignment.variant,
        )
        if assignment is not None:
            shown = adapter.ids(answer.rows)
            self._exposures.add_answer(assignment, answer, request.user_id, request_id, shown, took_ms)

    def add_similar(self, adapter: RequestAdapter, answer: Answer, request_id: str, took_ms: float) -> None:
        """Records the answer to a request for similar items."""
        self._decisions.add(answer, adapter.items.ids, request_id, took_ms, kind="similar")

    def add_failure(
        self, assignment: Assignment | None, release_id: str, user_id: str | None, request_id: str, took_ms: float
    ) -> None:
        """Records a request that raised an error, if it is part of an experiment."""
        if assignment is not None:
            self._exposures.add_failure(assignment, release_id, user_id, request_id, took_ms)

    async def flush(self, at_once: bool = False) -> None:
        """Writes what waits, every few seconds or `at_once`, in a thread; it takes as long as the storage takes."""
        await self._exposures.flush(at_once)
        await self._decisions.flush(at_once)

    def take_lost(self) -> dict[str, int]:
        """How many were lost since this was last asked, because the storage did not accept them, by kind."""
        return {"exposures": self._exposures.take_lost(), "decisions": self._decisions.take_lost()}
