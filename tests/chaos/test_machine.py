"""The clock and the memory of a command can be changed, and those of other processes stay as they are."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.machine import MEMORY_GROUPS, Clock, MemoryGroup
from tests.reporting.skipping import skip

HOUR_S = 3600
CLOCKS = "import time; print(time.time(), time.monotonic())"
HOLDS = """
import sys
held = bytearray(32 << 20)
kept = open(sys.argv[1], "rb").read()
del kept
print("ready", flush=True)
sys.stdin.readline()
print(len(held))
"""


def test_a_clock_jumps_and_the_monotonic_one_does_not(tmp_path: Path) -> None:
    clock = Clock.of(tmp_path / "clock")
    if clock is None:
        skip("libfaketime is not installed", "apt-get install faketime")
    for shift in (0, HOUR_S, -HOUR_S):
        clock.shift(shift)
        began = time.time(), time.monotonic()
        command = [*clock.prefix, sys.executable, "-c", CLOCKS]
        said = [float(word) for word in subprocess.run(command, capture_output=True, check=True).stdout.split()]
        assert abs(said[0] - began[0] - shift) < HOUR_S / 2
        assert abs(said[1] - began[1]) < HOUR_S / 2


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
