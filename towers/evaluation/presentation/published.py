"""Published results stand beside a measurement only where it is on the same data set, by the same protocol."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from towers.evaluation.config import EvaluateConfig, PublishedResult


def published_beside(config: EvaluateConfig, dataset: Mapping[str, Any]) -> Sequence[PublishedResult]:
    """The published results that an evaluation can be compared with; a line says why others are left out.

    Args:
        dataset: the manifest of the prepared dataset. Its counts are compared with `evaluate.published_on`, the kind of
            its split with `evaluate.published_split`.
    """
    if not config.published:
        return []
    if reasons := list(_other_protocol(config, dataset)):
        print(f"published results are left out: {'; '.join(reasons)}")
        return []
    shown = [result for result in config.published if any(_cut_off(name) == config.k for name in result.metrics)]
    if others := [result.name for result in config.published if result not in shown]:
        print(f"published results are left out: {', '.join(others)} has no metric at evaluate.k={config.k}")
    return shown


def _other_protocol(config: EvaluateConfig, dataset: Mapping[str, Any]) -> Iterator[str]:
    """What differs between this evaluation and that of the published results."""
    counts, kind = dataset["counts"], dataset["config"]["split"]["kind"]
    others = {name: count for name, count in config.published_on.items() if counts.get(name) != count}
    if not config.published_on:
        yield "evaluate.published_on does not say on which data set, such as {users: 943, items: 1682, test: 943}"
    if others:
        pairs = [f"{count:,} {name} (here {counts.get(name, 0):,})" for name, count in others.items()]
        yield f"theirs is another data set or another split, with {', '.join(pairs)}"
    if config.published_split is not None and config.published_split.value != kind:
        yield f"theirs is another split, data.split.kind={config.published_split.value} (here {kind})"
    if config.published_seen is not config.seen:
        yield f"theirs are by evaluate.seen={config.published_seen.value} (here {config.seen.value})"
    if config.max_users is not None:
        yield f"theirs are of all users, and evaluate.max_users is {config.max_users}"


def _cut_off(metric: str) -> int | None:
    """The number of ranks of a metric such as `recall@20`."""
    _, _, k = metric.partition("@")
    return int(k) if k.isdigit() else None
