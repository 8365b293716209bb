"""Makes and revokes the API keys of the endpoint: `python -m serve.keys mint=shop key.scopes=[recommend,events]`.

Without `mint` or `revoke` it lists them. A key is shown once, when it is made; only its hash is kept.

Examples:
    python -m serve.keys
    python -m serve.keys mint=shop key.scopes=[recommend,events] key.rate=100/second
    python -m serve.keys revoke=shop
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from conf.next_command import next_command
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.cluster.console import show
from serve.access.key_file import VARIABLE, KeyFile
from serve.access.key_listing import as_json, keys_table
from serve.releases.audit.history import Stamp, record_stamped
from serve.releases.registry import ReleaseRegistry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Makes the key `mint`, revokes the key `revoke`, or lists all keys."""
    file, releases = KeyFile.of(config.auth.file), ReleaseRegistry.of(Folder.of(config.storage.root)).folder
    if config.mint is not None and config.revoke is not None:
        raise ConfigError(f"mint: {config.mint} and revoke: {config.revoke}; give one of them")
    if VARIABLE in os.environ:
        print(f"note: {VARIABLE} is set here; where it is set for the endpoint, the keys in it count, not {file}")
    if config.mint is not None:
        scopes = [scope.value for scope in config.key.scopes]
        with _recorded(releases, action="mint", key=config.mint, scopes=scopes) as before:
            key = file.add(config.mint, config.key, before)
        print(f"keys: {config.mint} may ask for {', '.join(scopes)}. Its key,")
        print("which is shown this once (send it as the header Authorization: Bearer KEY):")
        following = next_command("serve.run", "auth=keys")
        print(f"\n  {key}\n\nNext: {following} (one that runs takes it in {config.auth.refresh_s:g} s)")
    elif config.revoke is not None:
        with _recorded(releases, action="revoke", key=config.revoke) as before:
            file.remove(config.revoke, before)
        print(f"keys: {config.revoke} is revoked; an endpoint that runs refuses it within {config.auth.refresh_s:g} s")
    records = file.read()
    if config.mint is None and config.revoke is None:
        if records:
            show(keys_table(records, datetime.now(UTC)))
        else:
            print(f"{file}: no key yet; run {next_command('serve.keys', 'mint=NAME')}")
    return {"keys": [as_json(record) for record in records]}


@contextmanager
def _recorded(releases: Folder, **what: Any) -> Iterator[Callable[[], None]]:
    """Has the history say what the block does; yields what is to be called right before the block changes the file.

    So no key is made or gone whose process was killed before the history had it. A history that cannot be written to
    keeps no revocation back; it is an error once the block is done.
    """
    add = partial(record_stamped, releases, Stamp.now(), what)

    def try_to_add() -> None:
        with suppress(OSError):
            add()

    yield try_to_add
    add()


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.keys")
