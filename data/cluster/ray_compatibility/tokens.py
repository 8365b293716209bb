"""Ray's token: which Rays of this machine ask for it, and showing it to the one that a command joins.

Since version 2.60, Ray asks for a token wherever a command starts it, unless the environment variable RAY_AUTH_MODE
says otherwise. A process that joins shows it by itself where `ray.init` is told no address or `auto`, and never where
it is told one, which our commands do: see data/cluster/joining.py.
"""

import os
from contextlib import suppress

AUTH_MODE = "RAY_AUTH_MODE"
"""Environment variable that says whether a Ray asks for its token, and whether a process shows it."""

OF_TOKENS = ("authenticationerror", "invalidauthtoken", "unauthenticated")
"""What stands in Ray's errors about a token that was missing or wrong, in small letters."""


def asks_for_token(address: str) -> bool:
    """Whether a Ray of this machine asks for its token, as far as this user can see.

    Its raylet has the mode in its environment, also where Ray has chosen it.

    Args:
        address: host and port, as `running_rays` returns them.
    """
    import psutil

    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "raylet" and f"--gcs-address={address}" in (process.info["cmdline"] or ()):
            with suppress(psutil.Error):  # it has ended, or is another user's
                return bool(process.environ().get(AUTH_MODE, "").lower() == "token")
    return False


def show_token() -> None:
    """Has this process and its children show Ray's token, unless the environment says whether they do.

    Ray reads the mode when it is imported, and again by this private function.
    """
    if AUTH_MODE not in os.environ:
        from ray._private.authentication.authentication_token_setup import _enable_token_auth

        _enable_token_auth()


def is_about_token(error: BaseException) -> bool:
    """Whether Ray has raised an error because of a token that was missing or wrong.

    Ray tries to reach a head for a while, whatever is wrong, and then quotes the last error in the text of another one.
    """
    found: BaseException | None = error
    while found is not None:
        text = f"{type(found).__name__} {found}".lower()
        if any(word in text for word in OF_TOKENS):
            return True
        found = found.__cause__ or found.__context__
    return False
