"""The keys by which a log of answers names its users, so that all rows of a forgotten user are found.

    <storage>/decisions/_hash_key-<fingerprint>.json    a key by which rows of the log name users
             /exposures/_hash_key-<fingerprint>.json

Whoever writes rows notes its key before the first of them. A process that removes forgotten users needs every key that
is noted: with another one it would find no row of theirs, and could not tell that from a log without any.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

from data.artifacts.errors import UserError
from data.artifacts.folders import Folder
from data.artifacts.secrets import secret
from data.sources.event_log.users import HASH_KEY, KEY_BYTES, hashed_by

FORMER = "USER_HASH_KEY_FORMER"
"""Name of the secret that holds former keys, separated by commas."""

NAME, ENDING = "_hash_key-", ".json"

NO_KEY = ""
"""Rows that were written without a key are named by a hash that anybody can compute."""


class HashKeyMissing(UserError, ValueError):
    """Rows of a log name users by a key that this process does not have."""


def fingerprint(key: str) -> str:
    """16 hexadecimal digits that tell a key from others, and from which it cannot be read."""
    return hmac.new(key.encode()[:KEY_BYTES], b"the fingerprint of USER_HASH_KEY", hashlib.sha256).hexdigest()[:16]


def note_hash_key(log: Folder) -> None:
    """Notes in the folder of a log that rows of it name users by the key of this process; raises OSError."""
    name = f"{NAME}{fingerprint(secret(HASH_KEY))}{ENDING}"
    if not log.exists(name):
        log.write_json(name, {"noted": datetime.now(UTC).isoformat()})


def all_names(log: Folder, forgotten: Mapping[str, int]) -> dict[str, int]:
    """When users were forgotten, by each name that rows of a log may have for them.

    These are the hashes by the key of this process, by the former keys, and without one where rows have none.

    Args:
        forgotten: By `user_key`, when they were forgotten, in microseconds since 1970.
    """
    keys = [secret(HASH_KEY), *_former()]
    if fingerprint(NO_KEY) in _noted(log):
        keys.append(NO_KEY)
    return {hashed_by(key, user): at for user, at in forgotten.items() for key in dict.fromkeys(keys)}


def require_hash_keys(*logs: Folder) -> None:
    """Requires the keys of all rows of some logs.

    Raises:
        HashKeyMissing: Rows name users by a key that is neither USER_HASH_KEY nor a former one.
        ConfigError: A file that holds the keys cannot be read.
        OSError: The storage does not answer.
    """
    known = {fingerprint(key) for key in (secret(HASH_KEY), *_former(), NO_KEY)}
    for log in logs:
        for missing in sorted(_noted(log) - known):
            raise HashKeyMissing(
                f"{HASH_KEY}: rows of {log} name users by a key with the fingerprint {missing}, which this process does"
                " not have: it would not find what was recorded of users who were forgotten, and removes none of them"
                f" anywhere until it does. Set {HASH_KEY} here to that of the endpoint, and {FORMER} to the keys before"
                f" it, separated by commas. If that key is lost, delete what was written by it, and then {log}/"
                f"{NAME}{missing}{ENDING}"
            )


def _former() -> list[str]:
    return [key.strip() for key in secret(FORMER).split(",") if key.strip()]


def _noted(log: Folder) -> set[str]:
    """The fingerprints of the keys by which rows of a log name users."""
    names = (name for name in log.names() if name.startswith(NAME) and name.endswith(ENDING))
    return {name.removeprefix(NAME).removesuffix(ENDING) for name in names}
