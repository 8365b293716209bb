"""The exposures of an experiment: which users got which items, as Parquet under `<storage>/exposures/<experiment>`."""

import asyncio
import logging
import time
import uuid
from collections import defaultdict
from typing import Any

import pyarrow as pa

from data.artifacts.folders import Folder
from data.sources.schema import DataError
from serve.experiments.assignment import Arm
from serve.observability.logs import hashed
from serve.pipeline.messages import Response

logger = logging.getLogger("serve.experiments.exposures")

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", tz="UTC")),
        ("request_id", pa.string()),
        ("user", pa.string()),  # keyed hash (serve.observability.logs); null for a request without a user
        ("experiment", pa.string()),
        ("variant", pa.string()),
        ("release_id", pa.string()),
        ("degraded", pa.bool_()),
        ("failed", pa.bool_()),  # the request raised an error and has no answer
        ("took_ms", pa.float32()),
        ("item_ids", pa.list_(pa.string())),
    ]
)
FLUSH_INTERVAL_S = 10.0
"""Seconds between two files of a replica."""

MAX_WAITING = 100_000
"""The most exposures that wait to be written. When the storage does not accept them, further ones are lost."""


def exposures_folder(storage: Folder, experiment: str) -> Folder:
    """The folder of an experiment's exposures, whether it exists or not."""
    return storage / "exposures" / experiment


def read_exposures(storage: Folder, experiment: str) -> pa.Table:
    """All exposures of an experiment, by SCHEMA.

    Raises:
        DataError: there are none.
    """
    folder = exposures_folder(storage, experiment)
    names = [name for name in folder.files() if name.endswith(".parquet")]
    if not names:
        raise DataError(f"traffic.name: {experiment!r}: no exposures in {folder}")
    return pa.concat_tables([folder.read_table(name).cast(SCHEMA) for name in names])


class ExposureLog:
    """Records the answers of one replica to requests that are part of an experiment.

    The `add` methods run on the request path and append to a list; `flush` writes the list to the storage.
    """

    def __init__(self, storage: Folder, replica: str) -> None:
        """Begins with nothing recorded.

        Args:
            storage: the storage root.
            replica: a unique name of this replica, which becomes part of the files' names.
        """
        self._storage, self._replica = storage, replica
        self._waiting: list[dict[str, Any]] = []
        self._flushed_at = time.monotonic()
        self._num_lost = 0

    def add_failure(self, arm: Arm, release_id: str, user_id: str | None, request_id: str, took_ms: float) -> None:
        """Records a request that raised an error."""
        outcome = {"degraded": False, "item_ids": [], "took_ms": took_ms, "failed": True}
        self._add(arm, release_id, user_id, request_id, outcome)

    def add_answer(
        self, arm: Arm, answer: Response, user_id: str | None, request_id: str, item_ids: list[str], took_ms: float
    ) -> None:
        """Records an answer with the external ids of its items."""
        outcome = {"degraded": answer.degraded, "item_ids": item_ids, "took_ms": took_ms, "failed": False}
        self._add(arm, answer.release_id, user_id, request_id, outcome)

    def _add(self, arm: Arm, release_id: str, user_id: str | None, request_id: str, outcome: dict[str, Any]) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._num_lost += 1
            return
        self._waiting.append(
            {
                "time": int(time.time() * 1e6),
                "request_id": request_id,
                "user": None if user_id is None else hashed(user_id),
                "experiment": arm.experiment,
                "variant": arm.variant,
                "release_id": release_id,
                **outcome,
            }
        )

    async def flush(self, interval_s: float = FLUSH_INTERVAL_S) -> None:
        """Writes the waiting exposures, off the event loop, unless the last flush was less than `interval_s` ago."""
        if self._num_lost:
            logger.error("exposures: %d lost, because the storage did not accept them in time", self._num_lost)
            self._num_lost = 0
        if not self._waiting or time.monotonic() - self._flushed_at < interval_s:
            return
        self._flushed_at = time.monotonic()
        waiting, self._waiting = self._waiting, []
        try:
            await asyncio.to_thread(self._write, waiting)
        except OSError as e:
            logger.error("exposures: %s; tried again in %g s", e, interval_s)
            self._waiting = waiting[: MAX_WAITING - len(self._waiting)] + self._waiting

    def _write(self, waiting: list[dict[str, Any]]) -> None:
        by_experiment: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for exposure in waiting:
            by_experiment[exposure["experiment"]].append(exposure)
        for name, exposures in by_experiment.items():
            table = pa.Table.from_pylist(exposures, schema=SCHEMA)
            exposures_folder(self._storage, name).write_table(f"{self._replica}-{uuid.uuid4().hex[:12]}.parquet", table)
