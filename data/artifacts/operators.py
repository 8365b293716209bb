"""The operator and the command that records of operations name. `OPERATOR` in the environment names a person."""

import getpass
import os
import socket
from collections.abc import Sequence
from contextvars import ContextVar

from data.artifacts.secrets import masked_override

OPERATOR = "OPERATOR"
"""Environment variable with the operator's name, where the account does not say it: on shared machines, in jobs."""

LONGEST = 1_000
"""Characters that are kept of a command."""

_command: ContextVar[str] = ContextVar("command", default="")


def begin_command(module: str, overrides: Sequence[str]) -> None:
    """Records which command this process runs. Secrets in its overrides are masked."""
    _command.set(" ".join([module, *map(masked_override, overrides)])[:LONGEST])


def running_command() -> str:
    """The command that this process runs, such as `serve.promote release=ID`; empty outside of commands."""
    return _command.get()


def operator() -> str:
    """Who runs this process: the name in OPERATOR or, without it, account and machine.

    Nobody checks the name. Who may write to the storage is decided by the storage's own permissions.
    """
    name = os.environ.get(OPERATOR, "").strip()
    if name:
        return name[:100]
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        account = str(os.getuid())
    return f"{account}@{socket.gethostname()}"
