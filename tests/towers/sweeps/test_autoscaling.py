"""A sweep asks for more than there is: nodes come, one is taken away under its trials, all trials finish, nodes go."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from threading import Thread

import psutil
import pytest

from tests.towers.sweeps.simulated import ENVIRONMENT, autoscaling
from tests.towers.sweeps.test_sweeps import PATIENCE_S, begun, command
from towers.sweeps.records import Records, State

pytestmark = pytest.mark.slow

COUNT = """
import sys
import time
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
while True:
    print("nodes", sum(node["Alive"] for node in ray.nodes()) - 1, flush=True)
    time.sleep(1)
"""


@contextmanager
def counted(address: str) -> Iterator[list[int]]:
    """How many nodes are alive, the head apart: a list that grows every second until the block ends."""
    counting = subprocess.Popen(
        [sys.executable, "-c", COUNT, address], env={**os.environ, **ENVIRONMENT}, stdout=PIPE, text=True
    )
    counts: list[int] = []

    def read() -> None:
        assert counting.stdout is not None
        for line in counting.stdout:
            if line.startswith("nodes "):
                counts.append(int(line.split()[1]))

    reading = Thread(target=read)
    reading.start()
    try:
        wait_for(lambda: bool(counts))
        yield counts
    finally:
        counting.kill()
        reading.join()


def wait_for(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.2)


def preempt(folder: Path) -> None:
    """Ends the node that the first trial of a sweep to begin works on."""
    node = psutil.Process(begun(folder, 1)[0]).parent()
    assert node is not None and node.name() == "raylet"
    node.kill()


@pytest.mark.slow
def test_nodes_come_for_a_sweep_one_is_lost_and_they_go_after_it(tmp_path: Path) -> None:
    with autoscaling(tmp_path, node_cpus=2, most=3) as address, counted(address) as counts:
        assert counts[-1] == 0
        asked = (
            "number=range(6)", "epochs=200", "hydra.launcher.retries=1", f"hydra.launcher.address={address}",
            "hydra.launcher.ship_code=false",
        )  # fmt: skip
        sweep = subprocess.Popen(
            command(tmp_path / "sweep", asked), env={**os.environ, **ENVIRONMENT}, stdout=PIPE, stderr=PIPE, text=True
        )
        preempt(tmp_path / "sweep")
        _, told = sweep.communicate(timeout=PATIENCE_S)
        assert sweep.returncode == 0, told[-2000:]
        records = Records(tmp_path / "sweep").read()
        assert [record.state for record in records] == [State.finished] * 6
        assert max(record.attempts for record in records) == 2
        assert max(counts) >= 2
        wait_for(lambda: counts[-1] == 0)
