"""A sweep asks for more than there is: nodes come, all trials finish, nodes go."""

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from conf.sweeps.records import Records, State
from tests.sweeps.simulated import ENVIRONMENT, autoscaling
from tests.sweeps.test_sweeps import command

COUNT = """
import sys
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()) - 1)
"""


def num_nodes(address: str) -> int:
    """Nodes that are alive, the head apart."""
    counted = subprocess.run(
        [sys.executable, "-c", COUNT, address], env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True
    )  # fmt: skip
    return int(counted.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_nodes_come_for_a_sweep_and_go_after_it(tmp_path: Path) -> None:
    with autoscaling(tmp_path, node_cpus=2, most=3) as address:
        assert num_nodes(address) == 0
        seen, stop = [], Event()

        def watch() -> None:
            while not stop.wait(2):
                seen.append(num_nodes(address))

        watching = Thread(target=watch)
        watching.start()
        asked = ("number=range(6)", "epochs=40", f"hydra.launcher.address={address}", "hydra.launcher.ship_code=false")
        environment = {**os.environ, **ENVIRONMENT}
        sweep = command(tmp_path / "sweep", asked)
        done = subprocess.run(sweep, env=environment, capture_output=True, text=True, timeout=200)
        stop.set()
        watching.join()
        assert done.returncode == 0, done.stderr[-2000:]
        assert [record.state for record in Records(tmp_path / "sweep").read()] == [State.finished] * 6
        assert max(seen) >= 2
        ends = time.monotonic() + 90
        while (left := num_nodes(address)) and time.monotonic() < ends:
            time.sleep(2)
        assert left == 0
