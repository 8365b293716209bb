"""A point of the search space that is being tried: its trials, what they have come to, and how long they took."""

from collections import deque
from dataclasses import dataclass, field

from optuna.trial import Trial

from towers.sweeps.records import Record
from towers.sweeps.search.budget import EARLIER_ATTRIBUTE, SECONDS_ATTRIBUTE
from towers.sweeps.search.longer import REACHED_ATTRIBUTE


@dataclass
class Point:
    """A point of the search space: one trial of the study, and one trial of the sweep for each seed.

    Attributes:
        trial: the trial of the study.
        waiting: indices of the seeds that have still to be started. The first seed runs before all others.
        values: values of the objectives for each seed that has finished.
        is_behind: whether halving has stopped its first seed. A trial that had no answer in time asks again after its
            next epoch, where there is no rung.
        is_late: whether it was stopped because the time was over; a later launch goes on with it.
        first_epoch: the first that this launch or one before has reported.
    """

    trial: Trial
    waiting: deque[int]
    values: list[list[float]] = field(default_factory=list)
    is_behind: bool = False
    is_late: bool = False
    first_epoch: int | None = None

    def is_compared(self, epoch: int, first_rung: int) -> bool:
        """Whether halving compares the trial: it has reported its epochs from the first rung on.

        A training that another search has begun reports its later epochs alone; the first of these would count as its
        value at all rungs before.

        Args:
            epoch: the epoch that it reports now.
            first_rung: the epoch of the first rung.
        """
        if self.first_epoch is None:
            self.first_epoch = 1 if REACHED_ATTRIBUTE in self.trial.user_attrs else epoch
        return self.first_epoch <= first_rung

    def took(self, record: Record, seed_index: int) -> None:
        """Notes how long a training took, in all launches."""
        earlier = float(self.trial.user_attrs.get(EARLIER_ATTRIBUTE, 0.0)) if seed_index == 0 else 0.0
        seconds = max(record.seconds + earlier, record.measured("training.seconds") or 0.0)
        longest = max(seconds, float(self.trial.user_attrs.get(SECONDS_ATTRIBUTE, 0.0)))
        self.trial.set_user_attr(SECONDS_ATTRIBUTE, longest)
