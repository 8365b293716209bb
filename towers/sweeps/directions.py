"""Which values of trials are the better the lower they are. All others are the better the higher they are."""

BETTER_WHEN_LOWER = ("loss", "seconds", "size_mib", "user_vector_ms", "gini", "error", "calibration_error")
"""Names of such values among those that a training returns, or reports after an epoch, without their cut-offs."""


def is_better_when_lower(path: str) -> bool:
    """Whether a low value is better than a high one.

    Args:
        path: a dotted path into what a trial returns, such as training.loss or metrics.gini@20, or the name of a value
            of an epoch.
    """
    return path.rpartition(".")[2].partition("@")[0] in BETTER_WHEN_LOWER
