"""The configuration of the decision log."""

from dataclasses import dataclass

from data.artifacts.bounds import bounded, check_bounds


@dataclass(kw_only=True, slots=True)
class DecisionsConfig:
    """Which answers are recorded, and for how long they are kept. The values are in conf/events.

    Attributes:
        share: The share of the answers that is recorded, with all of their candidates; 0 records none.
        max_candidates: Most candidates of an answer that are recorded, the best ones; what was shown always is.
        every_s: Seconds between two files of a replica. What a replica that dies has not written is lost.
        max_waiting: Most answers that wait in a replica to be written. Further ones are dropped, and counted.
        keep_days: Days after which records are deleted.
    """

    share: float = bounded(1.0, at_least=0, at_most=1)
    max_candidates: int = bounded(100, at_least=0, at_most=1000)
    every_s: float = bounded(10.0, above=0)
    max_waiting: int = bounded(20_000, at_least=1)
    keep_days: float = bounded(90.0, above=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "events.decisions")

    @property
    def is_on(self) -> bool:
        """Whether answers are recorded."""
        return self.share > 0
