"""Operators at work while things break: promotions, rollbacks, canaries and recalls, drawn by seed."""

import threading
import time
from dataclasses import dataclass, field
from random import Random

from data.artifacts.errors import UserError, one_line
from serve.experiments.assignment import Experiment
from serve.releases.pointer import utc_timestamp
from serve.releases.registry import ReleaseRegistry
from serve.rollout.denylist import deny, restore
from serve.rollout.two_phase import roll_back, roll_out, roll_out_shares

WITHIN_S = 30.0
BETWEEN_S = 3.0
ACTIONS = ("promote", "promote", "rollback", "canary", "recall")


@dataclass
class Recall:
    """An item that was recalled: from `returned` on no answer may hold it, until the restoring was asked for."""

    item: str
    called: float
    returned: float
    restored: float = float("inf")


@dataclass
class Operators:
    """A thread of operators.

    Attributes:
        done: how many actions of each kind succeeded.
        refused: why the others did not, by kind: a storage that is gone keeps operators from changing anything.
        recalls: what was recalled, and when.
    """

    registry: ReleaseRegistry
    releases: list[str]
    items: list[str]
    random: Random
    done: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    recalls: list[Recall] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Operators":
        self._thread = threading.Thread(target=self._work, name="operators")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(BETWEEN_S):
            action = self.random.choice(ACTIONS)
            try:
                getattr(self, f"_{action}")()
                self.done[action] = self.done.get(action, 0) + 1
            except (UserError, OSError, ValueError) as e:
                self.refused.append(f"{action}: {one_line(e)}")

    def _promote(self) -> None:
        roll_out(self.registry, self.random.choice(self.releases), WITHIN_S, lambda _: None)

    def _rollback(self) -> None:
        roll_back(self.registry, WITHIN_S)

    def _canary(self) -> None:
        live = self.registry.resolve(None)
        other = self.random.choice([release for release in self.releases if release != live])
        roll_out_shares(self.registry, Experiment(f"canary-{other}", {other: 0.2}, utc_timestamp()), WITHIN_S)

    def _recall(self) -> None:
        """Recalls an item, and restores it two seconds after the recall has returned."""
        item, called = self.random.choice(self.items), time.monotonic()
        recall = Recall(item, called, float("inf"))
        self.recalls.append(recall)  # before it returns, an answer may or may not hold the item
        result = deny(self.registry, [item], "chaos", WITHIN_S)
        if not result.behind and not result.may_answer:
            recall.returned = time.monotonic()
        self._stop.wait(2)
        recall.restored = time.monotonic()
        restore(self.registry, [item], WITHIN_S)
