"""The id of a state store, which stays with what is in it: a file may be found at another path, or on a machine of
another name, as in each new container."""

import secrets

from serve.events.protocol import StateStore

ID = "id"
"""The name of the note."""


def store_id(store: StateStore) -> str:
    """16 hexadecimal digits that tell a store from others; raises StoreUnavailable."""
    return store.note(ID, secrets.token_hex(8), replaces=False)
