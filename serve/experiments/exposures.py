"""Who was shown what in an experiment: Parquet under `<storage>/exposures/<experiment>`, to join with outcomes."""

import asyncio
import logging
import time
import uuid
from collections import defaultdict
from typing import Any

import pyarrow as pa

from data.artifacts.folders import Folder
from serve.experiments.assignment import Arm
from serve.observability.logs import hashed
from serve.pipeline.messages import Response

logger = logging.getLogger("serve.experiments.exposures")

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", tz="UTC")),
        ("request_id", pa.string()),
        ("user", pa.string()),  # its keyed hash (serve.observability.logs), null for a request of nobody
        ("experiment", pa.string()),
        ("variant", pa.string()),
        ("release_id", pa.string()),
        ("degraded", pa.bool_()),
        ("failed", pa.bool_()),  # no answer at all
        ("took_ms", pa.float32()),
        ("item_ids", pa.list_(pa.string())),
    ]
)
EVERY_S = 10.0
"""Between two files of a replica."""

MOST = 100_000
"""Exposures that wait to be written; where the storage does not take them, later ones are not recorded."""


def exposures(storage: Folder, experiment: str) -> Folder:
    return storage / "exposures" / experiment


class Exposures:
    """What one replica shows. `add` is called on the request path: it appends to a list."""

    def __init__(self, storage: Folder, replica: str) -> None:
        self._storage, self._replica = storage, replica
        self._waiting: list[dict[str, Any]] = []
        self._written_at = time.monotonic()
        self.lost = 0

    def failed(self, arm: Arm, release_id: str, user_id: str | None, request_id: str, took_ms: float) -> None:
        """Notes a request that died."""
        self._note(arm, release_id, user_id, request_id, failed=True, degraded=False, took_ms=took_ms, item_ids=[])

    def add(
        self, arm: Arm, answer: Response, user_id: str | None, request_id: str, item_ids: list[str], took_ms: float
    ) -> None:
        """Notes an answer."""
        said = {"degraded": answer.degraded, "item_ids": item_ids, "took_ms": took_ms, "failed": False}
        self._note(arm, answer.release_id, user_id, request_id, **said)

    def _note(self, arm: Arm, release_id: str, user_id: str | None, request_id: str, **said: Any) -> None:
        if len(self._waiting) >= MOST:
            self.lost += 1
            return
        self._waiting.append(
            {
                "time": int(time.time() * 1e6),
                "request_id": request_id,
                "user": None if user_id is None else hashed(user_id),
                "experiment": arm.experiment,
                "variant": arm.variant,
                "release_id": release_id,
                **said,
            }
        )

    async def flush(self, every_s: float = EVERY_S) -> None:
        """Writes what waits, off the event loop, unless that was done a moment ago."""
        if self.lost:
            logger.error("exposures: %d not recorded, the storage did not take them in time", self.lost)
            self.lost = 0
        if not self._waiting or time.monotonic() - self._written_at < every_s:
            return
        self._written_at = time.monotonic()
        waiting, self._waiting = self._waiting, []
        try:
            await asyncio.to_thread(self._write, waiting)
        except OSError as e:
            logger.error("exposures: %s; tried again in %g s", e, every_s)
            self._waiting = waiting[: MOST - len(self._waiting)] + self._waiting

    def _write(self, waiting: list[dict[str, Any]]) -> None:
        by_experiment: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for exposure in waiting:
            by_experiment[exposure["experiment"]].append(exposure)
        for name, shown in by_experiment.items():
            table = pa.Table.from_pylist(shown, schema=SCHEMA)
            exposures(self._storage, name).write_table(f"{self._replica}-{uuid.uuid4().hex[:12]}.parquet", table)
