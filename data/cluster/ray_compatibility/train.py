"""Ray Train without its watch over placement groups, and in a placement group that exists already.

What is imported from Ray is imported where it is used: Ray Train takes seconds to load.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer
    from ray.util.placement_group import PlacementGroup


def trainer_class() -> "type[TorchTrainer]":
    """TorchTrainer without the watch over placement groups.

    The watch is for drivers that outlive their trainer: ours ends with it, and a sweep frees the placement groups of
    its trials. (In a notebook the placement group of a killed trainer is free once Ray ends.) It asks the dashboard, and
    ends 12 s after each training where there is none, or where it finds the address of a Ray that is gone.
    """
    from ray.train.torch import TorchTrainer
    from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

    class Trainer(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [callback for callback in callbacks if not isinstance(callback, PlacementGroupCleanerCallback)]

    return Trainer


def in_placement_group(group: "PlacementGroup") -> Any:
    """A callback for `RunConfig.callbacks` that has Ray Train's workers run in a placement group that exists already.

    The group outlives the workers. It takes effect in the controller's process, which has no other training.
    """
    from ray.train.v2._internal.execution.callback import WorkerGroupCallback
    from ray.train.v2._internal.execution.worker_group import WorkerGroup
    from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle

    class Kept(DefaultPlacementGroupHandle):
        def shutdown(self) -> None:
            """Leaves the group to whoever made it."""

    class InPlacementGroup(WorkerGroupCallback):
        def before_worker_group_start(self, worker_group_context: object) -> None:
            handle = Kept(group)
            WorkerGroup._create_placement_group = lambda *_: handle

    return InPlacementGroup()
