"""A sweep asks for more than there is: nodes come, one is taken away under its trials, all trials finish, nodes go."""

import os
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE
from threading import Event, Thread

import psutil
import pytest

from tests.towers.sweeps.simulated import ENVIRONMENT, autoscaling
from tests.towers.sweeps.test_sweeps import begun, command
from towers.sweeps.records import Records, State

COUNT = """
import sys
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
print("nodes", sum(node["Alive"] for node in ray.nodes()) - 1)
"""


def num_nodes(address: str) -> int:
    """Nodes that are alive, the head apart."""
    counted = subprocess.run(
        [sys.executable, "-c", COUNT, address], env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True
    )  # fmt: skip
    return next(int(line.split()[1]) for line in counted.stdout.splitlines() if line.startswith("nodes "))


def preempt(folder: Path) -> None:
    """Ends the node that the first trial of a sweep to begin works on."""
    node = psutil.Process(begun(folder, 1)[0]).parent()
    assert node is not None and node.name() == "raylet"
    node.kill()


@pytest.mark.slow
def test_nodes_come_for_a_sweep_one_is_lost_and_they_go_after_it(tmp_path: Path) -> None:
    with autoscaling(tmp_path, node_cpus=2, most=3) as address:
        assert num_nodes(address) == 0
        seen, stop = [], Event()

        def watch() -> None:
            while not stop.wait(2):
                seen.append(num_nodes(address))

        watching = Thread(target=watch)
        watching.start()
        asked = (
            "number=range(6)", "epochs=40", "hydra.launcher.retries=1", f"hydra.launcher.address={address}",
            "hydra.launcher.ship_code=false",
        )  # fmt: skip
        sweep = subprocess.Popen(
            command(tmp_path / "sweep", asked), env={**os.environ, **ENVIRONMENT}, stdout=PIPE, stderr=PIPE, text=True
        )
        preempt(tmp_path / "sweep")
        _, told = sweep.communicate(timeout=200)
        stop.set()
        watching.join()
        assert sweep.returncode == 0, told[-2000:]
        records = Records(tmp_path / "sweep").read()
        assert [record.state for record in records] == [State.finished] * 6
        assert max(record.attempts for record in records) == 2
        assert max(seen) >= 2
        ends = time.monotonic() + 90
        while (left := num_nodes(address)) and time.monotonic() < ends:
            time.sleep(2)
        assert left == 0
