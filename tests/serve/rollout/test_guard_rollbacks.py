"""The endpoint's guard counts rollbacks by whichever guard, each once: an alert goes by that number."""

from dataclasses import replace

from data.artifacts.folders import Folder
from serve.releases.pointer import with_experiment
from serve.releases.registry import ReleaseRegistry
from serve.rollout.guard import CanaryGuard
from tests.serve.rollout.test_guard import CONFIG, experiment, judged_bad, storage

__all__ = ["storage"]


def counted(guard: CanaryGuard) -> int:
    assert guard.check() is None
    return guard.num_rollbacks


def test_a_rollback_by_the_guard_of_a_lap_counts_once(storage: Folder) -> None:
    """Nobody was alerted: the guard of a lap reports to nobody."""
    registry, guard = ReleaseRegistry.of(storage), CanaryGuard(CONFIG, storage)
    assert counted(guard) == 0
    judged_bad(storage)
    assert CanaryGuard(CONFIG, storage).check() is not None
    assert [counted(guard), counted(guard)] == [1, 1]
    registry.update_pointer(lambda live: replace(live, denylist="recalled.json"))  # type: ignore[type-var]
    assert counted(guard) == 1, "a recall is no rollback"
    assert counted(CanaryGuard(CONFIG, storage)) == 0, "a guard that is started again raises no alert again"


def test_a_rollback_of_its_own_counts_once(storage: Folder) -> None:
    guard = CanaryGuard(CONFIG, storage)
    judged_bad(storage)
    assert guard.check() is not None
    assert [guard.num_rollbacks, counted(guard), counted(guard)] == [1, 1, 1]


def test_the_same_rollback_again_counts_again_and_one_by_an_operator_does_not(storage: Folder) -> None:
    registry, guard, running = ReleaseRegistry.of(storage), CanaryGuard(CONFIG, storage), experiment(storage)

    def rolled_back(reason: str) -> int:
        registry.rollback(reason)
        found = counted(guard)
        registry.update_pointer(lambda live: with_experiment(live, running))  # type: ignore[arg-type]
        assert counted(guard) == found
        return found

    reasons = ("guard: new: too slow", "guard: new: too slow", "an operator's", "guard: new: too slow")
    assert [rolled_back(reason) for reason in reasons] == [1, 2, 2, 3]
