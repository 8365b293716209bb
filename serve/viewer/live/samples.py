"""Samples of metrics in Prometheus' text format, and what is computed of them: rates, shares and quantiles."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

ANSWERS, REQUEST_MS, STAGE_MS = "ray_twotower_requests_total", "ray_twotower_request_ms", "ray_twotower_stage_ms"
RECALL = "ray_twotower_index_recall"
HEALTHY, WANTED = "ray_serve_deployment_replica_healthy", "ray_serve_autoscaling_target_replicas"

KEPT = frozenset({
    ANSWERS, f"{REQUEST_MS}_bucket", f"{STAGE_MS}_sum", f"{STAGE_MS}_count", f"{RECALL}_sum", f"{RECALL}_count",
    HEALTHY, WANTED,
})  # fmt: skip
"""The samples that are kept: those that are plotted. Others are many more, such as the buckets of stage times."""

FROM = "from"
"""The label with the address that a sample was read from."""

Key = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a metric, and its labels in order."""


def parsed(content: str) -> dict[Key, float]:
    """Returns the samples of a text that are kept.

    Raises:
        ValueError: it is not in Prometheus' format.
    """
    prefixes = tuple(KEPT)
    lines = (line for line in content.splitlines() if line.startswith(prefixes))
    families = text_string_to_metric_families("\n".join(lines) + "\n")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
        for family in families
        for sample in family.samples
        if sample.name in KEPT and not math.isnan(sample.value)
    }


def with_keys_of(values: Mapping[Key, float], before: Iterable[Key]) -> dict[Key, float]:
    """Returns the values with the very keys of an earlier reading where they are equal, so that both share the memory.

    Keys take most of it: labels are the same in every reading of an hour.
    """
    known = {key: key for key in before}
    return {known.get(key, key): value for key, value in values.items()}


@dataclass(frozen=True)
class Reading:
    """All samples of one moment.

    Attributes:
        at: Unix seconds.
        values: By metric and labels; the label `from` is the address that it was read from.
        addresses: Addresses that were read; others did not answer.
    """

    at: float
    values: Mapping[Key, float]
    addresses: frozenset[str] = frozenset()

    def total(self, name: str, by: str = "", **labels: str) -> dict[str, float]:
        """Returns the sum of a metric's samples with these labels, by the value of the label `by` ("" for all)."""
        found: dict[str, float] = {}
        for (metric, pairs), value in self.values.items():
            if metric == name and labels.items() <= (given := dict(pairs)).items():
                key = given.get(by, "")
                found[key] = found.get(key, 0.0) + value
        return found


def increases(before: Reading, after: Reading, name: str, by: str = "", **labels: str) -> dict[str, float]:
    """Returns by how much a counter has grown, by a label.

    A sample that is smaller than before was counted anew from 0, by another process; one that was not there before has
    grown from 0 since, unless its address did not answer before.
    """
    grown: dict[str, float] = {}
    for key, value in after.values.items():
        metric, pairs = key
        if metric != name or not labels.items() <= (given := dict(pairs)).items():
            continue
        if key not in before.values and given.get(FROM, "") not in before.addresses:
            continue
        old = before.values.get(key, 0.0)
        grown[given.get(by, "")] = grown.get(given.get(by, ""), 0.0) + (value - old if value >= old else value)
    return grown


def quantile(increments: Mapping[str, float], q: float) -> float | None:
    """Returns a quantile of a histogram, by linear interpolation within its bucket, as Prometheus' histogram_quantile.

    Args:
        increments: growth of the buckets by their upper bound `le`, each counting those below too.

    Returns:
        None where nothing was observed. The largest finite bound where it is beyond.
    """
    buckets = sorted((float(bound), count) for bound, count in increments.items())
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted, lower, below = q * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted and count > below:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = (lower if math.isinf(bound) else bound), count
    return lower


def window(readings: Sequence[Reading], index: int, seconds: float) -> Reading | None:
    """Returns the latest reading that is at least so many seconds before that at `index`, else the first one before."""
    at = readings[index].at
    earlier = [reading for reading in readings[:index] if at - reading.at >= seconds - 0.5]
    return earlier[-1] if earlier else (readings[0] if index > 0 else None)


def labels_of(readings: Iterable[Mapping[str, object]]) -> list[str]:
    """Returns the labels of some values by label, in order, each once."""
    return sorted({label for values in readings for label in values})
