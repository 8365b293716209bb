"""Exposures of the answers of one variant of a canary, as replicas record them."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from serve.experiments.exposure_files import SCHEMA


def answered(
    variant: str,
    item_ids: Sequence[Sequence[str]],
    failed: int = 0,
    degraded: int = 0,
    took_ms: np.ndarray | None = None,
) -> pa.Table:
    """One answer to each of some users, with these items.

    Args:
        failed: how many of them failed, the first ones.
        degraded: the same of those that were degraded.
        took_ms: float32, of each answer; None means 4 ms.
    """
    count = len(item_ids)
    return pa.table(
        {
            "time": pa.array([datetime.now(UTC)] * count, pa.timestamp("us", tz="UTC")),
            "request_id": [f"{variant}{n}" for n in range(count)],
            "user": [f"u{n}" for n in range(count)],
            "experiment": ["canary-new"] * count,
            "variant": [variant] * count,
            "release_id": ["new"] * count,
            "degraded": np.arange(count) < degraded,
            "failed": np.arange(count) < failed,
            "took_ms": np.full(count, 4.0, np.float32) if took_ms is None else took_ms,
            "item_ids": item_ids,
        }
    ).cast(SCHEMA)
