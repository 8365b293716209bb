"""What is told of a trial whose process, or whose training worker, was lost."""

from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from towers.sweeps.trials import died


def test_a_lost_process_is_told_from_an_error() -> None:
    assert str(died(OutOfMemoryError("too much"))).startswith("out of memory: too much")
    assert str(died(NodeDiedError("gone"))).startswith("its node is gone")
    assert str(died(ActorDiedError())).startswith("its process died")
    assert died(ValueError("loss.temperature: 0")) is None
    assert died({"training": {}}) is None


def test_a_training_workers_death_is_a_loss_and_its_error_is_not() -> None:
    killed = WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError())
    assert str(died(WorkerGroupError("rank 1", {1: killed}))).startswith("its process died")
    assert died(WorkerGroupError("rank 0", {0: ValueError("NaN")})) is None
