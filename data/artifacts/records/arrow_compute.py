"""Arrow's compute functions, loaded when one of them is first used.

Modules that commands import at their start, such as those of config, use it in place of `pyarrow.compute`, which takes
about a sixth of the time that `serve.releases` needs to start (`make bench-start`).
"""

from typing import Any


def __getattr__(name: str) -> Any:
    import pyarrow.compute

    return getattr(pyarrow.compute, name)
