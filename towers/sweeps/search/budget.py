"""The time that a search may take: what its launches have taken, and what is kept free for the final fit."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

SPENT_PREFIX = "spent-"
"""Prefix of a user attribute of the study with the seconds that a launch has taken; the id of the launch follows."""

SECONDS_ATTRIBUTE = "seconds"
"""User attribute of an Optuna trial with the seconds that one training of it takes, all launches together.

Those that it waited for a place are not among them.
"""

EARLIER_ATTRIBUTE = "earlier"
"""User attribute of an Optuna trial that was queued again, with the seconds that it had run before."""

FINAL_SHARE = 1.25
"""The final fit takes this many times as long as the best trial: it learns from the validation part too."""


@dataclass
class Budget:
    """The seconds that the launches of a study may take together.

    Attributes:
        study: the Optuna study, which remembers what earlier launches have taken.
        launch: the id of this launch.
        seconds: None means without limit.
        has_final: whether a final fit follows.
        clock: seconds; monotonic.
    """

    study: optuna.Study
    launch: str
    seconds: float | None
    has_final: bool
    clock: Callable[[], float] = time.monotonic
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    @property
    def _key(self) -> str:
        return f"{SPENT_PREFIX}{self.launch}"

    def record(self) -> None:
        """Writes into the study how long this launch has taken."""
        self.study.set_user_attr(self._key, self.clock() - self._started)

    def spent(self) -> float:
        """Seconds that this launch has taken, and the others by what they wrote last; they may run beside it."""
        written = self.study.user_attrs.items()
        others = sum(float(of) for name, of in written if name.startswith(SPENT_PREFIX) and name != self._key)
        return others + self.clock() - self._started

    def is_over(self) -> bool:
        """Whether no time is left but for the final fit. It is never over before a trial has finished."""
        return self.seconds is not None and self._has_finished() and self.is_spent()

    def is_spent(self) -> bool:
        """The same, whether a trial has finished or not."""
        if self.seconds is None:
            return False
        kept = 0.0
        if self.has_final and len(self.study.directions) == 1 and self._has_finished():
            kept = FINAL_SHARE * float(self.study.best_trial.user_attrs.get(SECONDS_ATTRIBUTE, 0.0))
        return self.spent() + kept >= self.seconds

    def has_time_for(self, seconds: float, num_seeds: int, done: float = 0.0) -> bool:
        """Whether a point, and a final fit of it, would be over in time.

        Args:
            seconds: what one training of it takes.
            num_seeds: how many trainings it has.
            done: the share of the first one that an earlier launch has done.
        """
        if self.seconds is None:
            return True
        return self.spent() + seconds * (num_seeds - done + FINAL_SHARE * self.has_final) <= self.seconds

    def _has_finished(self) -> bool:
        return bool(self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
