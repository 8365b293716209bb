"""The launches of a study: each writes the time into it while it lives; others try again what dead ones left."""

import time
import uuid
from collections.abc import Mapping

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from towers.sweeps.search.budget import EARLIER_ATTRIBUTE, SECONDS_ATTRIBUTE
from towers.sweeps.search.longer import LONGER_ATTRIBUTE, REACHED_ATTRIBUTE, is_longer
from towers.sweeps.search.starts import START_ATTRIBUTE

LAUNCH_ATTRIBUTE = "launch"
"""User attribute of an Optuna trial with the id of the launch that runs it."""

KEPT = (START_ATTRIBUTE, LONGER_ATTRIBUTE)
"""User attributes that a trial keeps when it is queued again."""

REQUEUED_PREFIX = "again-"
"""Prefix of a user attribute of the study; the number of a trial follows. It marks a trial that was queued again."""

HEARTBEAT_INTERVAL_S, HEARTBEAT_TIMEOUT_S = 10.0, 60.0
"""Interval at which a launch writes the time into its study, and the age at which that time counts as too old.

Another launch then tries the trials of that launch again.
"""


class Launch:
    """This launch of a study.

    Attributes:
        id: tells it from other launches, those before it and those beside it.
    """

    def __init__(self, study: optuna.Study) -> None:
        """Joins the study, and queues, once, each trial that has failed or belongs to a launch that has died."""
        self.id, self._study, self._written_at = uuid.uuid4().hex, study, 0.0
        self.heartbeat()
        for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            self._queue_again(trial)

    def takes(self, trial: Trial) -> None:
        """Writes into the study that this launch runs the trial, and what an earlier one has reported of it.

        Halving then compares other trials with the epochs that they have had too: a training that goes on reports its
        later epochs alone, and the first of these would count as its value at all rungs before.
        """
        trial.set_user_attr(LAUNCH_ATTRIBUTE, self.id)
        reached = {int(epoch): float(value) for epoch, value in trial.user_attrs.get(REACHED_ATTRIBUTE, {}).items()}
        for epoch, value in sorted(reached.items()):
            trial.report(value, epoch)
            if not is_longer(trial):
                trial.should_prune()  # asked for the sake of its rung: that it went on is decided

    def heartbeat(self) -> bool:
        """Says, once in a while, that this launch lives, and looks for trials of dead ones; returns whether it did."""
        if time.time() - self._written_at <= HEARTBEAT_INTERVAL_S:
            return False
        self._written_at = time.time()
        self._study.set_user_attr(self.id, self._written_at)
        attributes = self._study.user_attrs
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _is_abandoned(trial, attributes):
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                self._queue_again(trial)
        return True

    def _queue_again(self, trial: FrozenTrial) -> None:
        requeued = f"{REQUEUED_PREFIX}{trial.number}"
        if not self._study.user_attrs.get(requeued):
            self._study.set_user_attr(requeued, True)
            kept = {name: of for name, of in trial.user_attrs.items() if name in KEPT}
            kept[EARLIER_ATTRIBUTE] = trial.user_attrs.get(SECONDS_ATTRIBUTE, 0.0)
            reached = {str(epoch): value for epoch, value in trial.intermediate_values.items()}
            self._study.enqueue_trial(trial.params, kept | ({REACHED_ATTRIBUTE: reached} if reached else {}))


def _is_abandoned(trial: FrozenTrial, attributes: Mapping[str, object]) -> bool:
    """Whether the launch of a running trial has not been heard of for too long."""
    launch = trial.user_attrs.get(LAUNCH_ATTRIBUTE)
    asked_at = 0.0 if trial.datetime_start is None else trial.datetime_start.timestamp()
    heard_at = asked_at if launch is None else float(str(attributes.get(str(launch), 0.0)))
    return time.time() - heard_at > HEARTBEAT_TIMEOUT_S
