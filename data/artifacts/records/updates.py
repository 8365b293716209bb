"""Changes of a small file that several processes change: what one of them has written is never lost to another."""

from collections.abc import Callable

from data.artifacts.folders import Folder
from data.artifacts.leases import Lock


def update_file(
    folder: Folder, name: str, change: Callable[[bytes | None], bytes], lock: Lock
) -> tuple[bytes | None, bytes]:
    """Replaces a file by what `change` makes of its content; returns the content before and after.

    Where another process has replaced the file all the same (one whose lock had been taken over), `change` is called
    again with what is there now.

    Args:
        change: returns the new content, given the present one, or None where there is no such file.
        lock: a lock that this process holds, and that all who change the file take.

    Raises:
        LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
    """
    while True:
        found = folder.read_versioned(name)
        before = None if found is None else found[0]
        after = change(before)
        if after == before:
            return before, after
        lock.require()
        if folder.replace_if(found and found[1], name, after):
            return before, after
