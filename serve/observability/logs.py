"""What replicas log, in JSON lines (serve/run.py): request id, release id and, for a user id, its keyed hash."""

import hashlib
import logging
import os

from serve.pipeline.messages import Response

logger = logging.getLogger("ray.serve")  # Ray's formatter adds request id, replica and what `extra` holds


def log_degraded(answer: Response, user_id: str | None) -> None:
    """One line for an answer that lacks something."""
    logger.warning(
        "degraded answer",
        extra={
            "release_id": answer.release_id,
            "user": None if user_id is None else hashed(user_id),
            "reasons": answer.reasons,
            "timings_ms": answer.timings_ms,
        },
    )


def hashed(user_id: str) -> str:
    """16 hexadecimal digits; the key, from USER_HASH_KEY in the environment, keeps others from guessing ids."""
    key = os.environ.get("USER_HASH_KEY", "").encode()[:64]
    return hashlib.blake2b(user_id.encode(), key=key, digest_size=8).hexdigest()
