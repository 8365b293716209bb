"""Errors that a user can mend, and messages on one line.

A command reports a `UserError` in one line and exits. Any other exception is a fault of ours or of a library, and its
traceback is written to a file.
"""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches

OVERRIDE = re.compile(r"(?:Error merging override|Could not override) '?[+~]*([^=\s']+)")
"""How Hydra begins its message about an override that the config does not take; the group is the key of the override.

The reason is not in the message, but in an error of OmegaConf's that it was raised from.
"""


class UserError(Exception):
    """Something that a user can mend. The message names the field, the value and the cure."""


class ConfigError(UserError, ValueError):
    """A config value is refused, or values do not go together."""


class NotAFolder(UserError, NotADirectoryError):
    """A file lies where a folder should be."""


class StorageUnavailable(UserError, OSError):
    """The storage at a location does not answer as it is opened."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on. An error that is among its own causes comes once."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and not any(cause is other for other in found):
        found.append(cause)
        yield cause
        cause = cause.__cause__


def one_line(error: BaseException) -> str:
    """The error's message on one line.

    Where OmegaConf has refused a config value, the line begins with the key and says why.
    """
    text = _joined(str(error))
    given = getattr(error, "override", None)  # of Hydra's parser, whose message does not say what it has parsed
    if isinstance(given, str) and given not in text:
        text = f"{given}: {text}"
    refusal = next((cause for cause in causes(error) if getattr(cause, "full_key", None)), None)
    if refusal is None:
        return text
    key, reason = str(getattr(refusal, "full_key", "")), _reason(refusal)
    override = OVERRIDE.match(text)
    if override is not None and not key.startswith(override[1]):
        key = f"{override[1]}: {key}"  # OmegaConf knows the place within the override's value alone
    if refusal is error:
        return f"{key}: {reason}"
    if reason in text:
        return text if key in text else f"{key}: {text}"
    return f"{key}: {reason} ({text.partition(' To append')[0]})" if override else f"{key}: {text} ({reason})"


def _reason(refusal: BaseException) -> str:
    """What OmegaConf says against a value, and what to do, without its lines about the place in the config."""
    lines = [line.strip() for line in str(refusal).splitlines()]
    place = ("full_key:", "reference_type=", "object_type=")
    reason = _joined("\n".join(line for line in lines if not line.startswith(place)))
    if reason.endswith("is not Optional"):
        return f"{reason}: null is not accepted, give a value"
    if reason.endswith("does not support deletion"):
        return f"{reason}: give a value instead"
    return f"{reason}{_known_keys(refusal)}" if reason.startswith("Key ") else reason


def _known_keys(refusal: BaseException) -> str:
    """The keys that a config dataclass has: those that resemble the unknown one, or else all of them."""
    of = getattr(refusal, "object_type", None)
    if not is_dataclass(of):
        return ""
    names = [field.name for field in fields(of) if not field.name.startswith("_")]
    alike = get_close_matches(str(getattr(refusal, "key", "")), names)
    return f"; did you mean {' or '.join(alike)}?" if alike else f"; known are {', '.join(names) or 'none'}"


def _joined(text: str) -> str:
    return " ".join(part.strip() for part in text.splitlines() if part.strip())
