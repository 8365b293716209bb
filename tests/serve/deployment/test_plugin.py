"""A plugin reaches the replicas of an endpoint that runs already, on a cluster that does not have it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from conf.schema import FOLDER, Config
from serve.releases.release import Release
from tests.documentation import examples
from tests.towers.sweeps.simulated import PLAIN, head

pytestmark = pytest.mark.slow


def test_an_endpoint_that_runs_gets_the_index_of_a_plugin(
    tiny: Config, release: Release, known_user: str, free_port: int, tmp_path: Path
) -> None:
    """It was started without the plugin; the command that changes it brings the plugin along."""
    packages = tmp_path / "packages"
    (packages / "theirs").mkdir(parents=True)
    (packages / "theirs" / "__init__.py").write_text("from theirs import exact\n__version__ = '1.0'\n")
    (packages / "theirs" / "exact.py").write_text(examples()["serve/index/backends/exact.py"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, **PLAIN, "PYTHONPATH": str(FOLDER.parent)}
    with head(tmp_path, 4, {}) as address:
        command = [
            sys.executable, "-m", "serve.run", f"cluster.address={address}", f"storage.root={tiny.storage.root}",
            f"index.uri={tiny.index.uri}", f"serve.port={free_port}", "serve.ingress.num_cpus=0.5",
            "serve.timeout_ms=2000", "guard.enabled=false", "events=off",
        ]  # fmt: skip
        with (tmp_path / "serving.log").open("w") as log:
            serving = subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=log, stderr=log)
            try:
                assert _answers(free_port, known_user, serving), (tmp_path / "serving.log").read_text()
                environment["PYTHONPATH"] += f"{os.pathsep}{packages}"
                changed = subprocess.run(
                    [*command, "plugins=[theirs]", "index.kind=exact"],
                    cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=600,
                )  # fmt: skip
                assert changed.returncode == 0, changed.stdout + changed.stderr
                assert "changing it in place" in changed.stdout
                assert _answers(free_port, known_user, serving)
            finally:
                serving.send_signal(signal.SIGINT)
                serving.wait(60)


def _answers(port: int, user_id: str, serving: subprocess.Popen[bytes]) -> bool:
    """Whether the endpoint answers a request in full within five minutes."""
    ends = time.monotonic() + 300
    while time.monotonic() < ends and serving.poll() is None:
        try:
            asked = httpx.post(f"http://127.0.0.1:{port}/v1/recommend", json={"user_id": user_id, "k": 3}, timeout=30)
            if asked.status_code == 200 and not asked.json()["degraded"]:
                return len(asked.json()["items"]) == 3
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    return False
