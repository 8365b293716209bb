"""Which process is meant by what another one has recorded."""

import os

from data.cluster.machine import process_start
from data.cluster.processes import is_process_alive

GONE = 2**22 + 1
"""No process has an id as high as this on Linux."""


def test_a_process_is_told_from_a_later_one_of_the_same_id() -> None:
    pid = os.getpid()
    assert is_process_alive(pid, process_start(pid))
    assert not is_process_alive(pid, "1")
    assert not is_process_alive(GONE, "1")


def test_a_process_whose_start_is_unknown_is_told_by_its_id() -> None:
    assert is_process_alive(os.getpid())
    assert is_process_alive(os.getpid(), 1.5), "by a clock that may have been set since"
    assert not is_process_alive(GONE)
