"""What a run of tests left out, why, and what to type so that it runs: `python -m tests.reporting.skipping FOLDER`.

The parts of `make test` are processes of their own. Each leaves a file in SHARED_ARTIFACTS, and this module shows them
together as the last lines. With ALL_MUST_RUN=1 in the environment, as in CI, what was left out is an error unless it
needs a GPU.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

CURE = "; to run it: "
"""Between why a test is skipped and what to type."""

NEEDS_GPU = "there is no GPU"


def skip(why: str, cure: str) -> NoReturn:
    """Skips the test that calls it.

    Args:
        why: What is missing, as a clause.
        cure: A command that brings it, or runs the test where it is.
    """
    pytest.skip(f"{why}{CURE}{cure}")


class SkipReporter:
    """A pytest plugin that tells at the end of a run what it left out, or writes it down for `make test` to tell."""

    def __init__(self) -> None:
        self._slow = 0

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._slow += sum(item.get_closest_marker("slow") is not None for item in items)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Runs after the summary of failures."""
        reasons = Counter(_reason(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
        shared = os.environ.get("SHARED_ARTIFACTS")
        if shared:
            found = {"reasons": dict(reasons), "slow": self._slow}
            (Path(shared) / f"skipped-{os.getpid()}.json").write_text(json.dumps(found))
            return
        if reasons:
            terminalreporter.write_sep("=", "left out")
        for line in lines(reasons, slow=0):
            terminalreporter.write_line(line)


def _reason(longrepr: object) -> str:
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return str(text).removeprefix("Skipped: ")


def lines(reasons: Counter[str], slow: int) -> Iterator[str]:
    """A line for each reason, the most frequent first, and one for the slow tests that were not asked for."""
    for reason, count in reasons.most_common():
        why, _, cure = reason.partition(CURE)
        yield f"skipped: {count} test{'s' * (count != 1)}, {why}" + (f". To run them: {cure}" if cure else "")
    if slow:
        yield f"not asked for: {slow} slow tests. To run them: make test-slow"


def main(folder: str) -> int:
    """Shows what all parts of a run left out; returns 1 if something was that must run."""
    found = [json.loads(path.read_text()) for path in Path(folder).glob("skipped-*.json")]
    reasons = sum((Counter(of["reasons"]) for of in found), Counter[str]())
    print(*lines(reasons, sum(of["slow"] for of in found)), sep="\n")
    if not reasons:
        print("no test was skipped")
    refused = [reason for reason in reasons if NEEDS_GPU not in reason]
    if refused and os.environ.get("ALL_MUST_RUN") == "1":
        print("error: ALL_MUST_RUN=1 is set, and tests that need no GPU were skipped")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
