"""`serve.run` beside an endpoint, as people type it: the command that its message prints keeps what was not typed."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from conf.schema import FOLDER, Config
from serve.releases.release import Release
from tests.serve.waiting import wait_until
from tests.towers.sweeps.simulated import PLAIN, head

pytestmark = pytest.mark.slow


def test_the_printed_command_raises_a_maximum_and_keeps_the_rest(
    tiny: Config, release: Release, free_port: int, tmp_path: Path
) -> None:
    environment = {**os.environ, **PLAIN, "PYTHONPATH": str(FOLDER.parent)}
    with head(tmp_path, 4, {}) as address:
        beside = ["python", "-m", "serve.run", f"cluster.address={address}"]
        started = [
            *beside, f"storage.root={tiny.storage.root}", f"serve.port={free_port}", "serve.ingress.num_cpus=0.5",
            "events=off", "serve.timeout_ms=1999",
        ]  # fmt: skip

        def ended(words: list[str]) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, *words[1:]]
            return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)

        with (tmp_path / "log").open("w") as log:
            command = [sys.executable, *started[1:]]
            serving = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
            try:
                wait_until(lambda: "serve: ready" in (tmp_path / "log").read_text(), "an endpoint", 300)
                refused = ended([*beside, "serve.ingress.max_replicas=9"])
                assert refused.returncode == 2, refused.stdout + refused.stderr
                assert "changing it in place" not in refused.stdout
                empty = ended([*beside, "replace=true", f"storage.root={tmp_path / 'empty'}"])
                assert "no release is live" in empty.stderr, "new replicas would wait for one"
                said, _, printed = refused.stderr.strip().partition("give them too: ")
                assert "serve.timeout_ms=1999" in said
                elsewhere = ended([*beside, f"serve.port={free_port + 1}"])
                assert f"serve.port: {free_port + 1} takes no effect" in elsewhere.stderr
                changed = ended(shlex.split(printed))
                assert changed.returncode == 0, changed.stdout + changed.stderr
                assert "changing it in place" in changed.stdout
                assert is_ready(free_port)
                assert ended(shlex.split(printed)[:-1]).returncode == 2
            finally:
                serving.send_signal(signal.SIGINT)
                serving.wait(60)


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
