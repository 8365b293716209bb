"""Runs Ray Train without its watch over placement groups, and in a placement group that exists already.

Ray Train takes seconds to import, so the functions import it when they are called.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer
    from ray.util.placement_group import PlacementGroup


def trainer_class() -> "type[TorchTrainer]":
    """TorchTrainer without the watch over placement groups.

    The watch frees the placement group of a trainer that was killed while its driver lives on. Our drivers end with
    their trainer, and a sweep frees the placement groups of its trials. (In a notebook, the placement group of a killed
    trainer is freed when Ray ends.) The watch asks Ray's dashboard, and delays the end of each training by 12 s where
    there is no dashboard, or where it finds the address of a Ray that no longer runs.
    """
    from ray.train.torch import TorchTrainer
    from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

    class Trainer(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [callback for callback in callbacks if not isinstance(callback, PlacementGroupCleanerCallback)]

    return Trainer


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
