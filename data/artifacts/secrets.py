"""Secrets, which no config holds: from the environment, or from a file that is mounted where a process runs."""

import os
from functools import cache
from pathlib import Path

from data.artifacts.errors import ConfigError

FILE_SUFFIX = "_FILE"
"""Added to the name of a secret: the environment variable with the path of the file that holds it."""


def secret(name: str) -> str:
    """Returns the value of the environment variable or, where that is empty, the content of the file it is kept in.

    The file is that which the environment variable `<name>_FILE` names, as images commonly have it. White space around
    its content does not count. The file is read once by a process.

    Args:
        name: such as MILVUS_TOKEN.

    Raises:
        ConfigError: the file cannot be read.
    """
    if value := os.environ.get(name, ""):
        return value
    path = os.environ.get(f"{name}{FILE_SUFFIX}", "")
    return _content(name, path) if path else ""


@cache
def _content(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{name}{FILE_SUFFIX}: {path} cannot be read ({e}); mount the secret there") from e
