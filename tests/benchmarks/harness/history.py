"""A recorded history of requests and of changes of release, and what must hold of it.

Each request: when it began and ended, which release answered and with which items. Each change: when it was asked for,
when it returned, and what is live since. All times are of one monotonic clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FIRST = 100
"""Requests on a new release that are looked at by themselves."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `items` is None where there was no answer (`problem` says what there was instead)."""

    user: str
    began: float
    ended: float
    release: str = ""
    items: tuple[str, ...] | None = None
    degraded: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One promotion or rollback."""

    kind: str
    called: float
    returned: float
    release: str


Expected = Mapping[str, Mapping[str, tuple[str, ...]]]
"""By release and user: what that release answers, known beforehand."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was amiss: counts, and a few examples for people.

    Attributes:
        failed: no answer of status 200.
        mixed: items that are not those of the release that the answer names.
        stale: an answer by a release that was not live at any time between the request's begin and end.
        degraded: answers that lack something; not compared item by item.
    """

    requests: int
    failed: int
    mixed: int
    stale: int
    degraded: int
    examples: list[str]


def judge(asked: Sequence[Asked], changes: Sequence[Change], first: str, expected: Expected) -> Verdict:
    """Looks at each request by itself.

    Args:
        changes: one after the other, each returned before the next was called.
        first: the release that was live before them.
    """
    returned = np.array([change.returned for change in changes])
    called = np.array([change.called for change in changes])
    live = [first, *(change.release for change in changes)]
    failed, mixed, stale = [], [], []
    for one in asked:
        if one.items is None:
            failed.append(f"{one.user}: {one.problem}")
            continue
        # changes that had returned when it began are behind it; those called before its end may have been seen
        behind, before_end = (int(np.searchsorted(*pair)) for pair in ((returned, one.began), (called, one.ended)))
        if one.release not in live[behind : before_end + 1]:
            stale.append(f"{one.user}: answered by {one.release}, live: {live[behind : before_end + 1]}")
        if not one.degraded and one.items != expected[one.release][one.user]:
            mixed.append(f"{one.user}: {one.release} would not answer {one.items}")
    degraded = sum(one.degraded for one in asked)
    examples = [*failed[:3], *mixed[:3], *stale[:3]]
    return Verdict(len(asked), len(failed), len(mixed), len(stale), degraded, examples)


def first_p99_ratio(asked: Sequence[Asked], changes: Sequence[Change]) -> float:
    """p99 of the first requests on each new release, all changes together, over p99 before the first change."""
    answered = sorted((one for one in asked if one.items is not None), key=lambda one: one.began)
    began = np.array([one.began for one in answered])
    took = np.array([one.ended - one.began for one in answered])
    steady = took[began < changes[0].called]
    firsts = []
    for change, after in zip(changes, [*changes[1:], None], strict=True):
        end = len(answered) if after is None else int(np.searchsorted(began, after.called))
        of_it = [
            at
            for at in range(int(np.searchsorted(began, change.called)), end)
            if answered[at].release == change.release
        ]
        firsts.append(took[of_it[:FIRST]])
    return float(np.percentile(np.concatenate(firsts), 99) / np.percentile(steady, 99))
