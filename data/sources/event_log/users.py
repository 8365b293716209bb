"""How logs and stores name users: by digests from which the id cannot be read."""

import hashlib
from typing import Any

from data.artifacts.json_text import mapping
from data.artifacts.secrets import secret

HASH_KEY = "USER_HASH_KEY"
"""Name of the secret that keys the hash of user ids in logs of answers."""

KEY_BYTES = 64
"""So many bytes of the secret count, at most."""


def user_key(user_id: str) -> str:
    """The key under which a store keeps a user: 32 hexadecimal digits. Whoever knows an id can compute it."""
    return hashlib.blake2b(user_id.encode(), digest_size=16).hexdigest()


def times_of(value: Any) -> dict[str, int]:
    """When users were forgotten, by their keys, as JSON files have it; raises TypeError or ValueError."""
    return {user: int(at) for user, at in mapping(value).items()}


def hashed(text: str) -> str:
    """Returns a keyed hash, such as of a user id: 16 hexadecimal digits.

    The key comes from USER_HASH_KEY in the environment, or from the file that USER_HASH_KEY_FILE names. Without a key,
    anyone who knows a user id can compute its hash and find it in the logs.
    """
    return hashed_by(secret(HASH_KEY), text)


def hashed_by(key: str, text: str) -> str:
    """The same by another key than that of this process."""
    return hashlib.blake2b(text.encode(), key=key.encode()[:KEY_BYTES], digest_size=8).hexdigest()
