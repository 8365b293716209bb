"""The configuration of a lap, conf/cycle, and the error of a lap that stops."""

from dataclasses import dataclass
from enum import Enum

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import UserError


class LapStopped(UserError, RuntimeError):
    """A lap ends without a new live release; the message says what has stopped it."""


class LapStart(Enum):
    """The weights that a lap's training starts with."""

    anew = "anew"  # fresh ones: the same log gives the same model, whatever the laps before it were
    live = "live"  # those of the checkpoint that the live release was made of: fewer epochs do


@dataclass(kw_only=True, slots=True)
class CycleConfig:
    """The configuration of a lap: least number of events, bounds of drift, and the canary trial of the release.

    Attributes:
        start: the weights that training starts with, see LapStart.
        min_events: new positives below which a lap ends at once, as there is too little to learn from. Where no release
            is live, all of the log counts.
        max_new_users: the largest share of the new positives that may be of users whom the live release does not know.
        max_new_items: the largest share of the new positives that may be with items that it does not know.
        max_psi: the largest population stability index of a feature, weighted by interactions, between the log of the
            live release and the new positives. 0.25 is commonly called a major shift.
        max_popularity_shift: the largest total variation distance between the popularity of items in the log of the
            live release and in the new positives, beyond what chance makes: 0 is the same, 1 has no item in common.
        max_report_loss: the largest loss of nDCG on the test part, as a share of what the live release has on its own.
            A model trained on corrupt events predicts later events badly.
        max_lost_items: the largest share of the items of the live release that the dataset may lack. Items that
            `serve.refresh` has added stay if the log's own table of items has them.
        canary_percent: the share of the users, in percent, that tries the release first; 0 leaves the trial out.
        canary_s: seconds that the trial lasts.
        look_s: seconds between two looks at the trial.
        resume: whether the command goes on with a lap that was interrupted; false gives that lap up and begins another.
    """

    start: LapStart = LapStart.anew
    min_events: int = bounded(100, at_least=1)
    max_new_users: float = bounded(0.9, at_least=0, at_most=1)
    max_new_items: float = bounded(0.5, at_least=0, at_most=1)
    max_psi: float = bounded(1.0, above=0)
    max_popularity_shift: float = bounded(0.6, above=0, at_most=1)
    max_report_loss: float = bounded(0.5, at_least=0, at_most=1)
    max_lost_items: float = bounded(0.05, at_least=0, at_most=1)
    canary_percent: float = bounded(5.0, at_least=0, below=100)
    canary_s: float = bounded(900.0, above=0)
    look_s: float = bounded(5.0, above=0)
    resume: bool = True

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "cycle")
