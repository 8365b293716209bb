"""The Ray session that a command works in."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
WORKERS_CODE = """
import ray
from data.cluster.ray_compatibility.serve import runtime_env
from data.cluster.session import ClusterConfig, connect

def imported() -> str:
    import data
    return data.__file__

connect(ClusterConfig(num_cpus=1, dashboard=False), runtime_env=runtime_env(64))
print(ray.get(ray.remote(imported).remote(), timeout=120))
"""


@pytest.mark.slow
def test_workers_of_a_clone_that_was_moved_import_its_code(tmp_path: Path) -> None:
    """The environment's installation names another folder, as it does once a clone was moved or copied."""
    clone = tmp_path / "clone"
    for package in ("data", "serve"):
        shutil.copytree(REPOSITORY / package, clone / package, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", WORKERS_CODE], cwd=clone, check=True, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.split()[-1] == str(clone / "data" / "__init__.py")
