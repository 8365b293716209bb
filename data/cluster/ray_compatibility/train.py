"""Runs Ray Train without its watch over placement groups, and in a placement group that exists already.

Its list of saved states is replaced as a whole, so that a crash leaves one that can be read.

A user's mistake that a worker finds arrives as what it is, at the first attempt.

Ray Train takes seconds to import, so the functions import it when they are called.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import UserError
from data.artifacts.folders import Folder
from data.artifacts.json_text import mapping, parsed

if TYPE_CHECKING:
    from ray.train import Result, WorkerGroupError
    from ray.train.torch import TorchTrainer
    from ray.util.placement_group import PlacementGroup


def trainer_class() -> "type[TorchTrainer]":
    """TorchTrainer without the watch over placement groups, whose `fit` raises a worker's UserError as it is.

    Its list of saved states is replaced as a whole (`replacing_snapshots`).

    A UserError is not tried again: the same values would lead to it again.

    The watch frees the placement group of a trainer that was killed while its driver lives on. Our drivers end with
    their trainer, and a sweep frees the placement groups of its trials. (In a notebook, the placement group of a killed
    trainer is freed when Ray ends.) The watch asks Ray's dashboard, and delays the end of each training by 12 s where
    there is no dashboard, or where it finds the address of a Ray that no longer runs.
    """
    from ray.train import WorkerGroupError
    from ray.train.torch import TorchTrainer
    from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

    class Trainer(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            kept = [callback for callback in callbacks if not isinstance(callback, PlacementGroupCleanerCallback)]
            return [*kept, replacing_snapshots()]

        def _initialize_and_run_controller(self, **arguments: Any) -> Any:
            arguments["failure_policy"] = failure_policy(self.run_config.failure_config)
            return super()._initialize_and_run_controller(**arguments)

        def fit(self) -> "Result":
            try:
                return super().fit()
            except WorkerGroupError as e:
                if (mistake := users_mistake(e)) is not None:
                    raise mistake from None
                raise

    return Trainer


def users_mistake(error: BaseException) -> UserError | None:
    """The UserError that a training worker raised, of the first one where there are several; None if there is none."""
    failures = getattr(error, "worker_failures", {})
    return next((failures[rank] for rank in sorted(failures) if isinstance(failures[rank], UserError)), None)


def worker_failures(error: "WorkerGroupError") -> Iterator[BaseException]:
    """What the workers of a training failed with; for a health check that failed, the reason of its failure."""
    for failure in error.worker_failures.values():
        yield getattr(failure, "health_check_failure", failure)


@contextmanager
def without_traceback_of_mistakes() -> Iterator[None]:
    """Keeps Ray Train from printing the traceback of a UserError that the block raises; the driver reports it.

    For the function of a training worker. Any other error is printed as before.
    """
    try:
        yield
    except UserError:
        from ray.train.v2._internal import util

        util.logger.disabled = True
        raise


def experiment_folder() -> Folder:
    """The folder of the run in the storage, for a training worker that writes into it by itself.

    Raises:
        RuntimeError: the worker does not see that folder, as Ray Train finds where it writes for a worker.
    """
    import ray.train

    storage: Any = ray.train.get_context().get_storage()
    storage._check_validation_file()
    return Folder(storage.storage_filesystem, storage.experiment_fs_path)


def failure_policy(config: Any) -> Any:
    """Ray Train's decision whether to try again after a failure, by which a user's mistake ends the training."""
    from ray.train.v2._internal.execution.failure_handling.default import DefaultFailurePolicy

    class Policy(DefaultFailurePolicy):
        def _is_retryable_error(self, training_failed_error: Any) -> bool:
            return users_mistake(training_failed_error) is None and super()._is_retryable_error(training_failed_error)

    return Policy(config)


def replacing_snapshots() -> Any:
    """A callback by which Ray Train replaces its list of saved states as a whole.

    Ray Train writes it anew in its place. A kill or a full disk would leave a part of it there, and all later attempts
    would fail because of that, with sound states beside it. The callback patches Ray Train in the process of the
    training's controller.
    """
    from ray.train.v2._internal.execution.callback import ControllerCallback
    from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import CheckpointManager

    def write(manager: Any) -> None:
        storage = manager._storage_context
        folder, _, name = storage.checkpoint_manager_snapshot_path.rpartition("/")
        Folder(storage.storage_filesystem, folder).write_bytes(name, manager._save_state().encode())

    class ReplacingSnapshots(ControllerCallback):
        def after_controller_start(self, train_run_context: object) -> None:
            CheckpointManager._write_state_to_storage = write

    return ReplacingSnapshots()


def in_placement_group(group: "PlacementGroup") -> Any:
    """A callback for `RunConfig.callbacks` by which Ray Train's workers run in a placement group that exists already.

    The group outlives the workers. The callback patches Ray Train in the process of the training's controller, which
    controls no other training.
    """
    from ray.train.v2._internal.execution.callback import WorkerGroupCallback
    from ray.train.v2._internal.execution.worker_group import WorkerGroup
    from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle

    class Kept(DefaultPlacementGroupHandle):
        def shutdown(self) -> None:
            """Does nothing: the placement group is removed by the code that created it."""

    class InPlacementGroup(WorkerGroupCallback):
        def before_worker_group_start(self, worker_group_context: object) -> None:
            handle = Kept(group)
            WorkerGroup._create_placement_group = lambda *_: handle

    return InPlacementGroup()


def saved_metrics(run: Folder) -> dict[str, Any] | None:
    """What was reported with the latest state that Ray Train has saved in the folder of a run; None where it has none.

    Raises:
        DamagedFile: Ray Train's list of these states is damaged, so that no training can go on from them.
    """
    from ray.train.v2._internal.constants import CHECKPOINT_MANAGER_SNAPSHOT_FILENAME as SNAPSHOT

    if not run.exists(SNAPSHOT):
        return None
    cure = f"remove the folder {run} to train from the start"
    saved = parsed(run.read_bytes(SNAPSHOT), f"{run}/{SNAPSHOT}", mapping, "Ray Train's list of saved states", cure)
    latest = saved.get("latest_checkpoint_result")
    return None if latest is None else dict(latest["metrics"])
