"""Secrets, which no config holds: from the environment, or from a file that is mounted where a process runs.

A value of the config may hold one all the same, as the password of an address does. It is masked wherever a value is
recorded or printed: `masked` takes one value, `masked_override` an override, `recordable` a whole config, and
`without_passwords` a message.
"""

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from data.artifacts.errors import ConfigError

FILE_SUFFIX = "_FILE"
"""Added to the name of a secret: the environment variable with the path of the file that holds it."""

MASK = "***"
"""What stands in the place of a secret."""

KEPT = rf"\1{MASK}"
"""What takes the place of a secret that a pattern finds behind its first group."""

SHORTEST = 6
"""Characters of a password that is looked for by itself in a message; a shorter one would be found in other words."""

BEFORE_THE_LAST_AT = re.compile(r"^([a-z][a-z0-9+.-]*\\?://)?.*@", re.IGNORECASE | re.DOTALL)

QUERY = re.compile(r"(https?://[^\s'\"?]*\?)[^\s'\"]+", re.IGNORECASE)
"""The query of a web address, which may be its signature or a token."""

PARAMETER = re.compile(r"([?&][\w.-]*(?:key|secret|token|passw|sig|credential)[\w.-]*=)[^&\s'\"]+", re.IGNORECASE)
"""A secret among the parameters of another address, such as that of an object store."""

CREDENTIALS = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s'\"<>]*@", re.IGNORECASE)
"""What stands before the last `@` of an address within a text."""

NAME = r"(?:password|passphrase|client\.secret|key\.pem|[A-Z0-9_]*(?:PASSWORD|SECRET|TOKEN|KEY(?:_FORMER)?))"
SECRET_NAME = re.compile(rf"(?:.*\.)?{NAME}")
"""Keys and environment variables whose values are secrets, such as `sasl.password` and `WANDB_API_KEY`."""

QUOTED = r"""\\?'(?:\\.|[^'\\])*(?:'|\Z)|\\?"(?:\\.|[^"\\])*(?:"|\Z)"""
IN_MAPPING = re.compile(rf"(\b{NAME}\\?['\"]?\s*\\?:\s*)(?:{QUOTED}|(?:\\.|[^,}}\\])+)", re.DOTALL)
"""A secret in a mapping of an override: quoted, or up to a comma or a brace that is not escaped."""


def masked(value: str) -> str:
    """Returns a value without what may be a password or a token.

    That is what stands before its last `@`, except for a scheme, the query of a web address, and parameters of other
    addresses that are named like secrets.
    """
    return _without_parameters(BEFORE_THE_LAST_AT.sub(lambda found: f"{found[1] or ''}{MASK}@", value))


def masked_override(override: str) -> str:
    """Returns a Hydra override whose value is masked; all of it, if the key is named like a secret."""
    key, equals, value = override.partition("=")  # a key may have an @ of its own, as of Hydra's packages
    if equals and value and SECRET_NAME.fullmatch(key.lstrip("+~")):
        return f"{key}={MASK}"
    return f"{key}{equals}{masked(IN_MAPPING.sub(KEPT, value))}"


def holds_secret(value: str) -> bool:
    """Whether a value is one that `recordable` masks: an address with a password or a token."""
    return _hidden(value) != value


def recordable(value: Any) -> Any:
    """Returns values of a config, as JSON has them, without secrets; for files and for what others keep."""
    if isinstance(value, Mapping):
        return {name: MASK if _is_secret(name, of) else recordable(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [recordable(of) for of in value]
    return _hidden(value) if isinstance(value, str) else value


def without_passwords(text: str, overrides: Iterable[str] = ()) -> str:
    """Returns a message without passwords of addresses, and without the secrets of this process.

    Hydra, and whoever reads an address, repeats a value that it cannot read, or a part of it.

    Args:
        overrides: of the command line, whose passwords are also found where they stand without their address.
    """
    for override in overrides:
        value = override.partition("=")[2].strip("'\"")
        if ":" in value.rpartition("@")[0]:
            text = text.replace(value, masked(value))
        for part in _credentials(value):
            text = text.replace(part, MASK)
    for known in _known:
        text = text.replace(known, MASK)
    return _without_parameters(CREDENTIALS.sub(rf"{KEPT}@", text))


def _hidden(value: str) -> str:
    """The value as `masked` has it if it is an address with a password, or with a user of the web, who may be a token.

    An `@` in other values hides nothing, such as that of abfs://container@account.
    """
    before = value.rpartition("@")[0]
    scheme, is_address, rest = before.partition("://")
    is_hidden = ":" in (rest if is_address else before) or (is_address and scheme.lower() in ("http", "https"))
    return masked(value) if is_hidden else _without_parameters(value)


def _without_parameters(text: str) -> str:
    return PARAMETER.sub(KEPT, QUERY.sub(KEPT, text))


def _is_secret(name: object, value: object) -> bool:
    return isinstance(value, str) and value != "" and SECRET_NAME.fullmatch(str(name)) is not None


def _credentials(value: str) -> list[str]:
    """User and password of an address, and the password alone, as they stand there and decoded; the longest first."""
    before, at, _ = value.replace("\\", "").rpartition("@")  # Hydra escapes some characters for a sweep's trials
    both = before.partition("://")[2] if "://" in before else before
    _, colon, password = both.partition(":")
    found = {both, password} if at and colon else set()
    return sorted({p for part in found for p in (part, unquote(part)) if len(p) >= SHORTEST}, key=len, reverse=True)


_known: set[str] = set()
"""The secrets that this process has read."""


def secret(name: str) -> str:
    """Returns the value of the environment variable or, where that is empty, the content of the file it is kept in.

    The file is that which the environment variable `<name>_FILE` names, as images commonly have it. White space around
    its content does not count. The file is read once by a process.

    Args:
        name: such as MILVUS_TOKEN.

    Raises:
        ConfigError: the file cannot be read.
    """
    value, path = os.environ.get(name, ""), os.environ.get(f"{name}{FILE_SUFFIX}", "")
    found = value or (_content(name, path) if path else "")
    if len(found) >= SHORTEST:
        _known.add(found)
    return found


@cache
def _content(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{name}{FILE_SUFFIX}: {path} cannot be read ({e}); mount the secret there") from e
