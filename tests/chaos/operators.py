"""Operators at work while things break: promotions, rollbacks, canaries and recalls, drawn by seed."""

import threading
import time
from dataclasses import dataclass
from random import Random

from data.artifacts.errors import UserError, one_line
from serve.experiments.assignment import Experiment
from serve.releases.pointer import utc_timestamp
from serve.releases.registry import ReleaseRegistry
from serve.rollout.denylist import deny, restore
from serve.rollout.two_phase import roll_back, roll_out, roll_out_shares

NUM, WITHIN_S = 2, 30.0
BETWEEN_S, RECALLED_S = (1.0, 6.0), (2.0, 8.0)
"""Seconds between two actions of an operator, and for which an item stays recalled."""

ACTIONS = ("promote", "promote", "rollback", "canary", "recall")


@dataclass
class Recall:
    """An item that was recalled: from `returned` on no answer may hold it, until the restoring was asked for."""

    item: str
    called: float
    returned: float
    restored: float = float("inf")


class Operators:
    """Two operators at work at the same time: they meet in promotions, rollbacks, canaries and recalls.

    Each recalls items of its own.

    Attributes:
        done: how many actions of each kind succeeded.
        refused: why the others did not, by kind: a storage that is gone keeps operators from changing anything, and the
            second of two may be told that the first has changed what it wanted to change.
        recalls: what was recalled, and when.
    """

    def __init__(self, registry: ReleaseRegistry, releases: list[str], items: list[str], random: Random) -> None:
        self._registry, self._releases = registry, releases
        self.done: dict[str, int] = {}
        self.refused: list[str] = []
        self.recalls: list[Recall] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(items[n::NUM], Random(random.random())), name=f"operator {n}")
            for n in range(NUM)
        ]

    def __enter__(self) -> "Operators":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, items: list[str], random: Random) -> None:
        while not self._stop.wait(random.uniform(*BETWEEN_S)):
            action = random.choice(ACTIONS)
            try:
                getattr(self, f"_{action}")(items, random)
                self.done[action] = self.done.get(action, 0) + 1
            except (UserError, OSError, ValueError) as e:
                self.refused.append(f"{action}: {one_line(e)}")

    def _promote(self, items: list[str], random: Random) -> None:
        roll_out(self._registry, random.choice(self._releases), WITHIN_S, lambda _: None)

    def _rollback(self, items: list[str], random: Random) -> None:
        roll_back(self._registry, WITHIN_S)

    def _canary(self, items: list[str], random: Random) -> None:
        live = self._registry.resolve(None)
        other = random.choice([release for release in self._releases if release != live])
        roll_out_shares(self._registry, Experiment(f"canary-{other}", {other: 0.2}, utc_timestamp()), WITHIN_S)

    def _recall(self, items: list[str], random: Random) -> None:
        """Recalls an item, and restores it some seconds after the recall has returned."""
        item, called = random.choice(items), time.monotonic()
        recall = Recall(item, called, float("inf"))
        self.recalls.append(recall)  # before it returns, an answer may or may not hold the item
        result = deny(self._registry, [item], "chaos", WITHIN_S)
        if not result.behind and not result.may_answer:
            recall.returned = time.monotonic()
        self._stop.wait(random.uniform(*RECALLED_S))
        recall.restored = time.monotonic()
        restore(self._registry, [item], WITHIN_S)
