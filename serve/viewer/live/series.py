"""What the view of live metrics plots: series over time, computed of the readings that the recorder keeps."""

from collections.abc import Callable, Mapping, Sequence

from serve.viewer.live.samples import (
    ANSWERS,
    HEALTHY,
    RECALL,
    REQUEST_MS,
    STAGE_MS,
    WANTED,
    Reading,
    increases,
    labels_of,
    quantile,
    window,
)  # fmt: skip

WINDOW_S = 60.0
"""The time over which rates and quantiles are taken."""

Series = dict[str, list[tuple[float, float | None]]]
"""Points of unix seconds and value by the name of the line; None where nothing is known."""

GAP_S = 150.0
"""Readings that are farther apart have a gap between them, of which nothing is known; page.every_s is 60 at most."""


def requests_per_second(readings: Sequence[Reading]) -> Series:
    """Answers per second by outcome."""

    def rates(before: Reading, after: Reading) -> dict[str, float]:
        seconds = after.at - before.at
        return {k: v / seconds for k, v in increases(before, after, ANSWERS, "outcome").items()}

    return _series(readings, rates)


def latency(readings: Sequence[Reading]) -> Series:
    """p50 and p99 of requests, in milliseconds."""

    def quantiles(before: Reading, after: Reading) -> dict[str, float | None]:
        grown = increases(before, after, f"{REQUEST_MS}_bucket", "le")
        return {"p50": quantile(grown, 0.5), "p99": quantile(grown, 0.99)}

    return _series(readings, quantiles)


def degraded_share(readings: Sequence[Reading]) -> Series:
    """The share of degraded answers."""

    def share(before: Reading, after: Reading) -> dict[str, float | None]:
        grown = increases(before, after, ANSWERS, "outcome")
        total = sum(grown.values())
        return {"degraded": grown.get("degraded", 0.0) / total if total else None}

    return _series(readings, share)


def stage_times(readings: Sequence[Reading]) -> Series:
    """The mean time of each stage, in milliseconds."""

    def means(before: Reading, after: Reading) -> dict[str, float | None]:
        total, count = (increases(before, after, f"{STAGE_MS}_{part}", "stage") for part in ("sum", "count"))
        return {stage: total.get(stage, 0.0) / n if n else None for stage, n in count.items()}

    return _series(readings, means)


def recall(readings: Sequence[Reading]) -> Series:
    """The mean recall that the monitor of an approximate index has seen; nothing where the index is exact."""

    def mean(before: Reading, after: Reading) -> dict[str, float | None]:
        total, count = (increases(before, after, f"{RECALL}_{part}").get("", 0.0) for part in ("sum", "count"))
        return {"recall": total / count} if count else {}

    return _series(readings, mean)


def replicas(readings: Sequence[Reading]) -> Series:
    """Healthy replicas of each deployment, and how many autoscaling wants."""
    found: Series = {}
    for index, reading in enumerate(readings):
        if _is_after_gap(readings, index):
            for points in found.values():
                points.append((reading.at, None))
        for says, metric in (("healthy", HEALTHY), ("wanted", WANTED)):
            for deployment, count in reading.total(metric, "deployment").items():
                found.setdefault(f"{says} {deployment}", []).append((reading.at, count))
    return found


MAX_POINTS = 240
"""Points of a line."""


def thinned(readings: Sequence[Reading]) -> list[Reading]:
    """Returns at most MAX_POINTS readings, evenly over time, the latest among them."""
    step = -(-len(readings) // MAX_POINTS) or 1
    return list(readings[::-1][::step])[::-1]


def _series(readings: Sequence[Reading], of: Callable[[Reading, Reading], Mapping[str, float | None]]) -> Series:
    """Returns the values of each moment over the time before it."""
    values: list[tuple[float, Mapping[str, float | None]]] = []
    start = 0  # of the readings since the latest gap
    for index in range(1, len(readings)):
        if _is_after_gap(readings, index):
            start = index
            values.append((readings[index].at, {}))
            continue
        before = window(readings[start : index + 1], index - start, WINDOW_S)
        if before is not None:
            values.append((readings[index].at, of(before, readings[index])))
    return {label: [(at, found.get(label)) for at, found in values] for label in labels_of(v for _, v in values)}


def _is_after_gap(readings: Sequence[Reading], index: int) -> bool:
    return index > 0 and readings[index].at - readings[index - 1].at > GAP_S
