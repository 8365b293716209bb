"""Structured logs of the replicas: JSON lines with request id, release id and a keyed hash of the user id."""

import hashlib

from data.artifacts.secrets import secret
from data.cluster.failure_log import replica_logger
from serve.access.control import caller_name
from serve.access.exposure import HASH_KEY
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


def hashed(user_id: str) -> str:
    """Returns a keyed hash of a user id, 16 hexadecimal digits.

    The key comes from USER_HASH_KEY in the environment, or from the file that USER_HASH_KEY_FILE names. Without a key,
    anyone who knows a user id can compute its hash and find it in the logs; only an endpoint on loopback has none.
    """
    key = secret(HASH_KEY).encode()[:64]
    return hashlib.blake2b(user_id.encode(), key=key, digest_size=8).hexdigest()
