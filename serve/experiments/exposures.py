"""The exposure log of a replica: which users got which items of which variant, written every few seconds."""

import time
from typing import Any

import pyarrow as pa

from data.artifacts.folders import Folder
from data.sources.event_log.exposures import exposures_folder
from data.sources.event_log.forgetting import logged_user
from data.sources.event_log.hash_keys import note_hash_key
from data.sources.event_log.users import user_key
from serve.experiments.assignment import Assignment, Experiment
from serve.experiments.exposure_files import SCHEMA, ExposureRun
from serve.observability.record_buffer import Batch, RecordBuffer
from serve.pipeline.messages import Response

FLUSH_INTERVAL_S = 10.0
"""Seconds between two files of a replica."""

MAX_WAITING = 100_000
"""The most exposures that wait to be written. When the storage does not accept them, further ones are lost."""


class ExposureLog:
    """Records the answers of one replica to requests that are part of an experiment.

    The `add` methods run on the request path, see `RecordBuffer`.
    """

    def __init__(self, storage: Folder, replica: str) -> None:
        """Begins with nothing recorded.

        Args:
            storage: the storage root.
            replica: a unique name of this replica, which becomes part of the files' names.
        """
        self._storage, self._replica = storage, replica
        self._buffer = RecordBuffer("exposures", self._write, FLUSH_INTERVAL_S, MAX_WAITING)
        self._is_key_noted = False

    def add_failure(
        self, assignment: Assignment, release_id: str, user_id: str | None, request_id: str, took_ms: float
    ) -> None:
        """Records a request that raised an error."""
        outcome = {"degraded": False, "item_ids": [], "took_ms": took_ms, "failed": True}
        self._add(assignment, release_id, user_id, request_id, outcome)

    def add_answer(
        self,
        assignment: Assignment,
        answer: Response,
        user_id: str | None,
        request_id: str,
        item_ids: list[str],
        took_ms: float,
    ) -> None:
        """Records an answer with the external ids of its items."""
        outcome = {"degraded": answer.degraded, "item_ids": item_ids, "took_ms": took_ms, "failed": False}
        self._add(assignment, answer.release_id, user_id, request_id, outcome)

    def _add(
        self, assignment: Assignment, release_id: str, user_id: str | None, request_id: str, outcome: dict[str, Any]
    ) -> None:
        exposure = {
            "time": int(time.time() * 1e6),
            "request_id": request_id,
            "user": None if user_id is None else logged_user(user_key(user_id)),
            "experiment": assignment.experiment.name,
            "variant": assignment.variant,
            "release_id": release_id,
            **outcome,
        }
        self._buffer.add((assignment.experiment, exposure))

    async def flush(self, at_once: bool = False) -> None:
        """Writes what waits, see `RecordBuffer.flush`."""
        await self._buffer.flush(at_once)

    def take_lost(self) -> int:
        """The number of exposures that were lost since this was last asked."""
        return self._buffer.take_lost()

    def _write(self, batch: Batch[tuple[Experiment, dict[str, Any]]]) -> None:
        if not self._is_key_noted:
            note_hash_key(exposures_folder(self._storage))
            self._is_key_noted = True
        by_run: dict[str, tuple[Experiment, list[dict[str, Any]]]] = {}
        for experiment, exposure in batch.records:
            by_run.setdefault(experiment.key, (experiment, []))[1].append(exposure)
        for experiment, exposures in by_run.values():
            table = pa.Table.from_pylist(exposures, schema=SCHEMA)
            run = ExposureRun.of(self._storage, experiment)
            run.write(experiment, f"{self._replica}-{batch.name}", table, batch.begun)
