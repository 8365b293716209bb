"""Errors that a user can mend, and messages on one line.

A command reports a `UserError` in one line and exits. Any other exception is a fault of ours or of a library, and its
traceback is written to a file.
"""


class UserError(Exception):
    """Something that a user can mend. The message names the field, the value and the cure."""


class ConfigError(UserError, ValueError):
    """A config value is refused, or values do not go together."""


def one_line(error: BaseException) -> str:
    """The error's message on one line, after the config key that it is about where OmegaConf names one."""
    cause: BaseException | None = error
    while cause is not None and not getattr(cause, "full_key", None):
        cause = cause.__cause__
    text = " ".join(part.strip() for part in str(error).splitlines() if part.strip())
    key = getattr(cause, "full_key", None)
    return text if key is None or key in text else f"{key}: {text}"
