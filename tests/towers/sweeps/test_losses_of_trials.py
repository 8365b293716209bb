"""What is told of a trial whose process, or whose training worker, was lost."""

from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from towers.sweeps.lost_processes import loss_reason


def test_a_lost_process_is_told_from_an_error() -> None:
    assert str(loss_reason(OutOfMemoryError("too much"))).startswith("out of memory: too much")
    assert str(loss_reason(NodeDiedError("gone"))).startswith("its node is gone")
    assert str(loss_reason(ActorDiedError())).startswith("its process died")
    assert loss_reason(ValueError("loss.temperature: 0")) is None
    assert loss_reason({"training": {}}) is None


def test_a_training_workers_death_is_a_loss_and_its_error_is_not() -> None:
    killed = WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError())
    assert str(loss_reason(WorkerGroupError("rank 1", {1: killed}))).startswith("its process died")
    assert loss_reason(WorkerGroupError("rank 0", {0: ValueError("NaN")})) is None
