"""Published results stand beside a measurement only where it is on the same data set, split in the same way."""

from collections.abc import Mapping, Sequence

from towers.evaluation.config import EvaluateConfig, PublishedResult


def published_beside(config: EvaluateConfig, counts: Mapping[str, int]) -> Sequence[PublishedResult]:
    """The published results of an evaluation if they are on its data set; none, and a line that says why, otherwise.

    Args:
        counts: the counts of the prepared dataset (users, items, and the interactions of each split), which are
            compared with `evaluate.published_on`.
    """
    if not config.published:
        return []
    others = {name: count for name, count in config.published_on.items() if counts.get(name) != count}
    if config.published_on and not others and config.max_users is None:
        return config.published
    if config.max_users is not None:
        why = f"theirs are of all users, and evaluate.max_users is {config.max_users}"
    elif others:
        pairs = [f"{count:,} {name} (here {counts.get(name, 0):,})" for name, count in others.items()]
        why = f"theirs is another data set or another split, with {', '.join(pairs)}"
    else:
        why = "evaluate.published_on does not say on which data set, such as {users: 943, items: 1682, test: 943}"
    print(f"published results are left out: {why}")
    return []
