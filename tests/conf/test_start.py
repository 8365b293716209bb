"""Commands start without the libraries that they may not need: no torch, no Ray, no FAISS, no client of Milvus."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf.verbs import VERBS

HEAVY = ("torch", "ray", "faiss", "pymilvus", "grpc", "fastapi", "wandb", "scipy", "matplotlib", "optuna")

LOADED = f"""
import json, sys
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""

OPERATING = """
import io
from contextlib import redirect_stdout
from importlib import import_module

from conf.entry import _command
from conf.schema import load
from data.artifacts.folders import Folder
from data.artifacts.seals import sealing
from serve.releases.registry import ReleaseRegistry

registry = ReleaseRegistry.of(Folder.of("var"))
for name in ("r1", "r2", "r3"):
    dataset = {"name": "toys", "fingerprint": "f"}
    manifest = {
        "kind": "release", "created_at": f"2026-01-0{name[1]}T00:00:00+00:00", "dataset": dataset, "num_items": 3,
        "k": 20, "metrics": {"recall@20": 0.1, "ndcg@20": 0.1}, "config": {"seed": 0}, "checkpoint": "c",
        "checkpoint_fingerprint": "f", "collection": "c",
    }
    with sealing(registry.path(name), manifest):
        pass
registry.promote("r1")
registry.promote("r2")
with redirect_stdout(io.StringIO()):
    for module, overrides in {
        "serve.releases": [], "serve.lineage": [], "serve.rollback": [], "serve.split": [],
        "serve.withdraw": ["items=[a]", "reason=recalled", "force=true"],
    }.items():
        _command(module).task(load(overrides))
assert registry.live().release == "r1"
assert registry.read_denylist(registry.live().denylist) == {"a"}
"""


def loaded(code: str, folder: Path) -> list[str]:
    """Which of the heavy libraries are loaded in a process that runs this code."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", code + LOADED], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def test_the_config_of_all_commands_is_loaded_without_them(tmp_path: Path) -> None:
    """The modules of all commands are imported, as `python -m` does, and the config is composed and checked."""
    imports = "\n".join(f"_command({verb!r})" for verb in VERBS)
    assert loaded(f"from conf.entry import _command\nfrom conf.schema import load\n{imports}\nload()", tmp_path) == []


@pytest.mark.parametrize("options", [("index=milvus",), ("loss=bilateral", "model=transformer")])
def test_names_of_implementations_are_known_without_them(options: tuple[str, ...], tmp_path: Path) -> None:
    assert loaded(f"from conf.schema import load\nload({list(options)})", tmp_path) == []


def test_operators_commands_run_without_them(tmp_path: Path) -> None:
    assert loaded(OPERATING, tmp_path) == []


def test_a_command_line_starts_without_them(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "serve.releases"]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "hydra" in imported
    assert imported.isdisjoint(HEAVY)


def test_the_config_is_loaded_without_arrows_compute_functions(tmp_path: Path) -> None:
    code = "import sys\nfrom conf.schema import load\nload()\nassert 'pyarrow.compute' not in sys.modules\n"
    assert loaded(code, tmp_path) == []


def test_what_starts_an_endpoint_needs_no_torch(tmp_path: Path) -> None:
    """Neither the command nor the replicas of guard and compaction, which start beside those of the endpoint."""
    code = "import serve.deployment.application, serve.deployment.deploying, serve.deployment.endpoint"
    assert {"torch", "scipy"}.isdisjoint(loaded(code, tmp_path))


@pytest.mark.parametrize("topology", ["fused", "staged"])
def test_the_endpoints_application_is_built_without_torch(topology: str, tmp_path: Path) -> None:
    """By a Serve config it is built in a process of its own, which ends with it."""
    code = f"""
from serve.deployment.application import Arguments, app
app(Arguments(overrides=["serve={topology}", "storage.root=var"]))
"""
    assert {"torch", "scipy", "faiss"}.isdisjoint(loaded(code, tmp_path))
