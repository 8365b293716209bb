"""The examples of docs/extending.md are added as files, as a team would add them, and used."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from tests.documentation import ROOT, examples

FOLDERS = ("conf", "data", "towers", "serve", "tests", "docs")
OWN = "shop"
"""The package of the example that stays in a repository of its own."""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert not path.exists(), "an example must not replace a file of ours"
        path.write_text(content)


def write_log(folder: Path) -> Path:
    """400 interactions of 20 users and 15 items in JSON lines."""
    path = folder / "events.jsonl"
    rows = ({"user": f"u{i % 20}", "item": f"i{i * 7 % 15}", "at": 1_767_225_600 + 60 * i} for i in range(400))
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def run(module: str, *arguments: str, cwd: Path, path: str) -> str:
    """What a command prints, with this PYTHONPATH."""
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with the examples in it."""
    folder = tmp_path_factory.mktemp("stack")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "fixtures"))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    write(folder, {name: text for name, text in examples().items() if not name.startswith(f"{OWN}/")})
    return folder


def test_there_is_an_example_for_each_folder() -> None:
    table = re.findall(r"^\| an? [^|]+ \| `([\w/]+)` \|", (ROOT / "docs" / "extending.md").read_text(), re.MULTILINE)
    assert len(table) == 6
    folders = {str(Path(name).parent) for name in examples()}
    assert set(table) <= folders


def test_the_examples_compute_what_they_say(stack: Path) -> None:
    assert run("tests.extensions_in_use", cwd=stack, path=str(stack)).endswith("done\n")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository of one's own: the source beside the command, its yaml in a folder that `--config-dir` names."""
    found = examples()
    own = {name: text for name, text in found.items() if name.startswith(f"{OWN}/")}
    own |= {f"{OWN}/__init__.py": "", f"{OWN}/json_lines.py": found["data/sources/json_lines.py"]}
    write(tmp_path, own | {"myconf/data/json_lines.yaml": found["conf/data/json_lines.yaml"]})
    return tmp_path


def test_a_command_of_ones_own_knows_the_source(shop: Path) -> None:
    arguments = ("--config-dir", "myconf", "--cfg", "job", "data=json_lines", "data.source.path=events.jsonl")
    assert "path: events.jsonl" in run(f"{OWN}.prepare", *arguments, cwd=shop, path=f"{shop}:{ROOT}")


def test_the_source_is_read_by_prepare(shop: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(shop))
    importlib.import_module(f"{OWN}.json_lines")
    path = write_log(shop)
    config = load([f"hydra.searchpath=[file://{shop}/myconf]", "data=json_lines", f"data.source.path={path}"])
    dataset = prepare(config.data, Folder.of(str(shop / "var")))
    counts = dataset.manifest["counts"]
    assert (counts["users"], counts["items"], counts["raw_interactions"]) == (20, 15, 400)
    assert dataset.items.ids.values.to_pylist()[:2] == ["i0", "i1"]


@pytest.mark.slow
def test_towers_are_trained_with_loss_sampler_and_encoder(stack: Path, tmp_path: Path) -> None:
    small = ("tracking=off", "train.epochs=1", "data.source.num_users=200", "data.source.num_items=100")
    parts = ("loss=hinge", "+loss.negatives.square_root=64", "model.history=latest")
    run("towers.train", *small, *parts, cwd=tmp_path, path=str(stack))
    (manifest,) = (tmp_path / "var" / "checkpoints").glob("*/manifest.json")
    config = json.loads(manifest.read_text())["config"]
    assert (config["loss"]["kind"], config["model"]["history"]) == ("hinge", "latest")
