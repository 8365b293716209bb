"""Structured logs of the replicas: JSON lines with request id, release id and a keyed hash of the user id."""

from data.cluster.failure_log import replica_logger
from data.sources.event_log.users import hashed
from serve.access.control import caller_name
from serve.pipeline.messages import Response

logger = replica_logger("answers")  # Ray's formatter adds request id, replica and the fields of `extra`


def log_degraded(answer: Response, user_id: str | None) -> None:
    """Logs one warning for a degraded answer: what was left out of it, and the time of each stage."""
    logger.warning(
        "degraded answer",
        extra={
            "release_id": answer.release_id,
            "user": None if user_id is None else hashed(user_id),
            "key": caller_name(),
            "reasons": answer.reasons,
            "timings_ms": answer.timings_ms,
        },
    )
