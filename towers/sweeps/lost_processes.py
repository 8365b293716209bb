"""Tells a lost process (killed, out of memory, its node gone) from an error that a trial raised."""

from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, RayTaskError
from ray.train import WorkerGroupError

from data.artifacts.errors import one_line
from data.cluster.ray_compatibility.train import worker_failures

MAX_CHARACTERS = 300
"""Number of characters that are kept of Ray's message about a lost process, which may be pages long."""


def loss_reason(error: object) -> str | None:
    """How a process of the trial was lost, its own or a training worker's; None if `error` is no loss of a process."""
    if isinstance(error, WorkerGroupError):
        return next(
            (reason for failure in worker_failures(error) if (reason := loss_reason(failure)) is not None), None
        )
    return describe_loss(error) if isinstance(error, RayError) and not isinstance(error, RayTaskError) else None


def describe_loss(error: RayError) -> str:
    """The kind of the loss, followed by Ray's message, shortened."""
    message = one_line(error)[:MAX_CHARACTERS]
    if isinstance(error, OutOfMemoryError) or "low on memory" in message:
        return f"out of memory: {message}"
    return f"its node is gone: {message}" if isinstance(error, NodeDiedError) else f"its process died: {message}"
