"""A storage that fails at a step: once, or from then on, as for a process that was killed there."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from pyarrow import fs

from data.artifacts.folders import Folder


def fail_at(patch: pytest.MonkeyPatch, step: int, for_good: bool) -> Callable[[], int]:
    """From now on, the n-th write, copy or deletion fails, and if `for_good` all later ones too.

    Returns:
        Says how many there have been.
    """
    steps: list[int] = []
    numbers = count(1)

    def failing(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            steps.append(number := next(numbers))
            if number == step or (for_good and number > step):
                raise OSError("the storage does not answer")
            return call(*arguments, **named)

        return counted

    for name in ("write_bytes", "delete_file", "delete"):
        patch.setattr(Folder, name, failing(getattr(Folder, name)))
    patch.setattr(fs, "copy_files", failing(fs.copy_files))
    return lambda: len(steps)
