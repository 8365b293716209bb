"""The clock jumps and is set right, and the memory of a command is squeezed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.machine import MEMORY_GROUPS, Clock, MemoryGroup

HOLDS = """
import sys
held = bytearray(32 << 20)
kept = open(sys.argv[1], "rb").read()
del kept
print("ready", flush=True)
sys.stdin.readline()
print(len(held))
"""


def test_a_clock_that_jumped_is_set_right_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead, began = [], time.time() - time.monotonic()
    monkeypatch.setattr(time, "clock_settime", lambda _, seconds: ahead.append(seconds - time.monotonic() - began))
    clock = Clock()
    for shift in (120, -120, 0):
        clock.shift(shift)
    assert ahead == pytest.approx([120, -120, 0], abs=0.5)


def test_a_squeezed_group_keeps_what_it_holds_and_no_files(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(128 << 20))
    with MemoryGroup.made("test-chaos") as group:
        if group is None:
            assert not os.access(MEMORY_GROUPS, os.W_OK), "this user may make groups"
            return
        command = [*group.prefix, sys.executable, "-c", HOLDS, str(file)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None and process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            before = group.used()
            with group.squeezed():
                during = group.used()
            said, _ = process.communicate("\n")
    assert int(said) == 32 << 20
    assert during < before + 1 and during < 128 << 20
