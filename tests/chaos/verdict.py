"""The verdict: what a recorded history of requests says of an endpoint among faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from data.cluster.ray_compatibility.haproxy_template import NOT_READY
from tests.benchmarks.harness.history import Asked
from tests.chaos.operators import Recall

LATE_S = 0.010
"""Seconds past its deadline after which an answer is late."""

MAX_SLOPE_MIB_PER_MIN = 1.0
"""Memory that grows by this much or more is a leak."""

MAX_RECOVERY_S = 30.0
"""Seconds after the end of a fault within which all must be healthy."""

NOTICED_WITHIN_S = 2.0
"""Seconds after a kill within which the clients of its requests know: the kernel closes the connections at once."""

RESTORED_WITHIN_S = 5.0
"""Seconds after the restoring of an item was asked for within which all replicas offer it again."""

LISTENS_STILL_S = 1.0
"""Seconds for which a new proxy that knows no replicas yet listens beside its successor, which does."""

LOST = ("RemoteDisconnected", "ConnectionResetError", "BrokenPipeError", "IncompleteRead", "502")
"""How a client sees that the ingress or the proxy which had its request was killed; HAProxy says it by a status, which
no ingress gives."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A process on the way of a request that was killed: "ingress" or "proxy", in monotonic seconds.

    Until it has gone, which takes as long as its memory is given back, its sockets take requests.
    """

    began: float
    gone: float
    kind: str


@dataclass(frozen=True, slots=True)
class History:
    """What happened.

    Attributes:
        asked: all requests.
        kills: what was killed on the way of a request.
        recalls: what was recalled.
        proxy_back: for each kill of the proxy, in order, when connections were taken again.
        deadline_s: the requests' deadline, in seconds.
        expected: by release and user, the best items in order, more than were asked for.
        k: items asked for.
    """

    asked: Sequence[Asked]
    kills: Sequence[Kill]
    recalls: Sequence[Recall]
    proxy_back: Sequence[float]
    deadline_s: float
    expected: Mapping[str, Mapping[str, tuple[str, ...]]]
    k: int


@dataclass(slots=True)
class Verdict:
    """Counts, and the first examples of what may not be.

    Attributes:
        requests: all requests.
        failed: without an answer of status 200, although no process that had them in flight was killed.
        lost: without an answer, in flight when the ingress or the proxy was killed, or while no proxy ran.
        mixed: whole answers that are not those of the release which they name.
        late: answered later than the deadline and `LATE_S`, as the client measured it.
        recalled: answers with an item whose recall had returned before the request began.
        degraded: answers that lack something, and say so.
    """

    requests: int = 0
    failed: int = 0
    lost: int = 0
    mixed: int = 0
    late: int = 0
    recalled: int = 0
    degraded: int = 0
    late_ms_max: float = 0.0
    examples: list[str] = field(default_factory=list)

    def _add(self, name: str, example: str) -> None:
        setattr(self, name, getattr(self, name) + 1)
        if name in ("failed", "mixed", "recalled") and len(self.examples) < 20:
            self.examples.append(f"{name}: {example}")


def judge(history: History) -> Verdict:
    """Looks at each request by itself."""
    found = Verdict(requests=len(history.asked))
    for one in history.asked:
        if one.items is None:
            found._add("lost" if _was_in_flight(one, history) else "failed", f"{one.user}: {one.problem}")
            continue
        if one.ended - one.began > history.deadline_s + LATE_S:
            found._add("late", "")
            found.late_ms_max = max(found.late_ms_max, 1000 * (one.ended - one.began - history.deadline_s))
        for recall in history.recalls:
            if recall.returned < one.began and one.ended < recall.restored and recall.item in one.items:
                found._add("recalled", f"{one.user}: {recall.item}")
        if one.degraded:
            found.degraded += 1
        elif not _is_of_its_release(one, history):
            found._add("mixed", f"{one.user}: {one.release} would not answer {one.items}")
    return found


def _was_in_flight(one: Asked, history: History) -> bool:
    """Whether a process that had the request was killed, or no proxy ran."""
    if one.problem.startswith(LOST) and any(
        one.began <= kill.gone and kill.began <= one.ended <= kill.gone + NOTICED_WITHIN_S for kill in history.kills
    ):
        return True
    proxies = [kill.began for kill in history.kills if kill.kind == "proxy"]
    shared_s = LISTENS_STILL_S if NOT_READY in one.problem else 0.0
    outages = zip(proxies, history.proxy_back, strict=False)
    return any(began <= one.ended and one.began <= back + shared_s for began, back in outages)


def _is_of_its_release(one: Asked, history: History) -> bool:
    """Whether a whole answer is that of its release, in the same order, without what may have been recalled.

    What takes the place of a recalled item may come from beyond the expected ones. While an item is recalled the order
    may be another one: a candidate's distance from the best of them is a signal of the re-ranker's, and the recalled
    item may have been the best.
    """
    assert one.items is not None
    expected = history.expected[one.release][one.user]
    recalled = {recall.item for recall in history.recalls if recall.called <= one.ended}
    places = [expected.index(item) for item in one.items if item in expected]
    if not places or len(one.items) - len(places) > len(recalled):
        return False
    if any(
        recall.called <= one.ended and one.began <= recall.restored + RESTORED_WITHIN_S for recall in history.recalls
    ):
        return True
    if places != sorted(places):
        return False
    skipped = set(range(places[-1])) - set(places)
    return {expected[place] for place in skipped} <= recalled


def slope_mib_per_min(times_s: Sequence[float], mib: Sequence[float]) -> float | None:
    """How much memory grows, by least squares; None with fewer than two samples."""
    return float(60 * np.polyfit(times_s, mib, 1)[0]) if len(times_s) > 1 else None


def amiss(verdict: Verdict, recovered_s_max: float, slope: float | None, is_soak: bool) -> list[str]:
    """What may not be, in words; nothing if the endpoint keeps its promises.

    Args:
        recovered_s_max: most seconds from the end of a fault until all was healthy.
        slope: growth of memory in MiB a minute; None where it was not measured.
        is_soak: whether it was to be measured.
    """
    found = [
        f"{name}: {count}" for name in ("failed", "mixed", "late", "recalled") if (count := getattr(verdict, name))
    ]
    if recovered_s_max > MAX_RECOVERY_S:
        found.append(f"recovered_s_max: {recovered_s_max:.1f} is above {MAX_RECOVERY_S:g}")
    if is_soak and (slope is None or slope >= MAX_SLOPE_MIB_PER_MIN):
        measured = "was not measured" if slope is None else f"{slope:.3g} is not below {MAX_SLOPE_MIB_PER_MIN:g}"
        found.append(f"slope_mib_per_min: {measured}")
    return found
