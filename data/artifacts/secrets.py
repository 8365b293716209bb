"""Secrets, which no config holds: from the environment, or from a file that is mounted where a process runs.

An address may hold one all the same, which is masked where it is recorded.
"""

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from data.artifacts.errors import ConfigError

FILE_SUFFIX = "_FILE"
"""Added to the name of a secret: the environment variable with the path of the file that holds it."""


BEFORE_THE_LAST_AT = re.compile(r"^([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)


def masked(value: str) -> str:
    """Returns a value without what stands before its last `@`, except for a scheme: that may be a password."""
    return BEFORE_THE_LAST_AT.sub(lambda found: f"{found[1] or ''}***@", value)


def without_passwords(text: str, overrides: Iterable[str]) -> str:
    """Returns a message without the passwords of addresses that overrides on a command line hold.

    Hydra, and whoever reads an address, repeats a value that it cannot read.
    """
    for override in overrides:
        value = override.partition("=")[2].strip("'\"")
        if ":" in value.rpartition("@")[0]:
            text = text.replace(value, masked(value))
    return text


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
