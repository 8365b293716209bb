"""Arrow's compute functions, loaded when one of them is first used: loading them takes a fifth of a command's start.

Modules that commands import at their start, such as those of config, use it in place of `pyarrow.compute`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    import pyarrow.compute

    return getattr(pyarrow.compute, name)
