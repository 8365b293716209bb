"""A wheel works outside of a clone: built of the source distribution, and installed into an environment of its own.

The environment finds the libraries of the environment of the tests, and of this project nothing but the wheel.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from conf.schema import FOLDER
from data.cluster.machine import BINARY

pytestmark = pytest.mark.slow

ROOT = FOLDER.parent
SOURCES = ("conf", "data", "towers", "serve", "twotower", "hydra_plugins")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
SOMEBODYS = "raise ImportError('this is not the package of the recommender')\n"
TINY = (
    "tracking=off", "data.source.num_users=300", "data.source.num_items=200", "data.source.num_clusters=10",
    "data.source.interactions_per_user=20", "model.embedding_dim=16", "train.epochs=2", "train.batch_size=256",
    "train.fit_on=train_validation", "train.patience=0", "loss.num_uniform=64", "gate.max_mean_cosine=1",
    "gate.min_over_popularity=0", "gate.min_effective_dims=0", "gate.max_golden_ms=5000",
    "cluster.num_cpus=2", "cluster.dashboard=false",
)  # fmt: skip


def run(*command: str | Path, cwd: Path, timeout_s: int = 300, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(what: str, source: Path, target: Path) -> Path:
    """What `python -m build` builds of a folder: a source distribution or a wheel."""
    target.mkdir(exist_ok=True)
    return target / run(sys.executable, "-c", BUILD, what, str(target), cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    with tarfile.open(built("build_sdist", source, folder / "dist")) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return built("build_wheel", unpacked, folder / "dist")


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment with the wheel."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index")
    run(*pip, wheel, cwd=folder.parent)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder.parent).strip()
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(site) / "zz_libraries.pth").write_text("\n".join(sorted(libraries)))
    return python.parent


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder where somebody has packages that are called as ours are."""
    for name in ("data", "conf", "serve", "towers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(SOMEBODYS)
    return tmp_path


def test_the_wheel_holds_yaml_and_what_python_reads_at_its_start(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert ours <= names
    assert {"twotower.pth", "twotower/start.pth", "serve/api/recommender.proto"} <= names
    tops = {name.partition("/")[0] for name in names if not name.startswith("twotower_ray-")}
    assert tops == {*SOURCES, "twotower.pth"}


def test_it_lists_its_verbs_in_an_empty_folder(bin_folder: Path, tmp_path: Path) -> None:
    assert "researcher:" in run(bin_folder / "twotower", cwd=tmp_path)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert run(bin_folder / "twotower", "--version", cwd=tmp_path) == f"twotower {version}\n"
    assert "embedding_dim: 64" in run(bin_folder / "twotower", "train", "--cfg", "job", cwd=tmp_path)
    script = run(bin_folder / "twotower", "-sc", "install=bash", cwd=tmp_path)
    assert script.rstrip().endswith("-F hydra_bash_completion twotower")


def test_modules_are_ours_where_somebody_has_the_same_names(bin_folder: Path, elsewhere: Path) -> None:
    for command in (("twotower", "releases"), ("python", "-m", "serve.releases")):
        assert "no release yet" in run(bin_folder / command[0], *command[1:], cwd=elsewhere)
    run(bin_folder / "python", "-m", "data.prepare", *TINY[1:5], *TINY[-2:], cwd=elsewhere)  # Ray's workers too
    assert len(list((elsewhere / "var" / "datasets").iterdir())) == 2, "the dataset, and .locks"


def test_somebody_elses_packages_stay_theirs(bin_folder: Path, elsewhere: Path) -> None:
    (elsewhere / "data" / "__init__.py").write_text("print('theirs')\n")
    (elsewhere / "data" / "prepare.py").touch()
    assert run(bin_folder / "python", "-m", "data.prepare", cwd=elsewhere) == "theirs\n"
    assert run(bin_folder / "python", "-c", "import data", cwd=elsewhere) == "theirs\n"


@pytest.mark.parametrize("proxy", ["haproxy", "own-proxy"])
def test_the_demo_runs(bin_folder: Path, elsewhere: Path, proxy: str) -> None:
    """Also where HAProxy is not, such as on a Mac."""
    missing = {BINARY: "/nowhere/haproxy"} if proxy == "own-proxy" else {}
    text = run(bin_folder / "twotower", "demo", "demo.wait=false", *TINY, cwd=elsewhere, timeout_s=600, **missing)
    assert "Done in" in text
    assert ("own proxy" in text) == bool(missing)
    assert "ms from the first byte of the events to the other answer" in text
    assert "live" in run(bin_folder / "twotower", "releases", cwd=elsewhere)
