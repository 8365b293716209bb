"""Small JSON files in storage, which may be cut or hold something else: an error that names the file, or a warning.

Who can do without a file leaves it out and says so (`left_out`). Who cannot, such as a recall without the denylist,
ends with the DamagedFile error, which says what to do.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from data.artifacts.folders import Folder
from data.artifacts.json_text import RESTORE, parsed

logger = logging.getLogger(__name__)

T = TypeVar("T")


def read_json_file(folder: Folder, name: str, of: Callable[[Any], T], what: str, cure: str = RESTORE) -> T:
    """What `of` makes of the value in a JSON file.

    Args:
        of: takes the value; where that is not what it should be, it raises an error such as TypeError or KeyError.
        what: what the file should hold, for the message.
        cure: what to do where it does not.

    Raises:
        DamagedFile: the file holds no JSON, or `of` does not take its value.
        FileNotFoundError: there is no such file.
    """
    return parsed(folder.read_bytes(name), f"{folder}/{name}", of, what, cure)


def read_or_left_out(folder: Folder, name: str, of: Callable[[Any], T], what: str, cure: str = RESTORE) -> T | None:
    """As `read_json_file`; None for a file that is damaged, which is named, or that another process has removed."""
    try:
        return read_json_file(folder, name, of, what, cure)
    except FileNotFoundError:
        return None
    except ValueError as e:
        left_out(str(e))
        return None


@cache
def left_out(why: str) -> None:
    """Warns that a file is left out; once for each process and reason.

    Args:
        why: names the file, and says what is wrong with it and what to do.
    """
    logger.warning("left out: %s", why)
