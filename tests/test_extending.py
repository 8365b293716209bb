"""The examples of docs/extending.md are added as files, as a team would add them, and used."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation import ROOT, examples

FOLDERS = ("conf", "data", "towers", "serve", "twotower", "tests", "docs")
OWN = "shop"
"""The package of the example that stays in a repository of its own."""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert not path.exists(), "an example must not replace a file of ours"
        path.write_text(content)


def write_log(folder: Path) -> None:
    """1,200 interactions of 40 users and 211 items in JSON lines."""
    rows = ({"user": f"u{i % 40}", "item": f"i{i * i * 31 % 211}", "at": 1_767_225_600 + 60 * i} for i in range(1_200))
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def run(module: str, *arguments: str, cwd: Path, path: str) -> str:
    """What a command prints, with this PYTHONPATH."""
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
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
    write(folder, {name: text for name, text in examples().items() if not name.startswith((f"{OWN}/", "myconf/"))})
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
    """A repository of one's own with the plugin of the example, its yaml in a folder that `--config-dir` names."""
    found = examples()
    own = {name: text for name, text in found.items() if name.startswith((f"{OWN}/", "myconf/"))}
    own |= {f"{OWN}/hinge.py": found["towers/training/losses/hinge.py"]}
    own |= {f"{OWN}/json_lines.py": found["data/sources/json_lines.py"]}
    own |= {"myconf/data/json_lines.yaml": found["conf/data/json_lines.yaml"]}
    assert len(own) == 5
    write(tmp_path, own)
    write_log(tmp_path)
    return tmp_path


SHOP = ("--config-dir", "myconf", "experiment=shop")


@pytest.mark.slow
def test_a_plugin_brings_a_source_and_a_loss(shop: Path) -> None:
    text = run("towers.train", *SHOP, "--cfg", "job", cwd=shop, path=str(ROOT))
    assert "path: events.jsonl" in text
    assert "kind: hinge" in text
    assert "\n  data.source.path=events.jsonl\n" in run("data.prepare", *SHOP, "--help", cwd=shop, path=str(ROOT))


@pytest.mark.slow
def test_a_plugin_trains_and_its_release_goes_live_only_where_it_is(shop: Path) -> None:
    """From outside of the clone: Ray's workers read the log and compute the loss by it."""
    small = (
        "tracking=off", "train.epochs=1", "train.patience=0", "model.embedding_dim=8", "cluster.num_cpus=2",
        "cluster.dashboard=false", "gate.max_mean_cosine=1", "evaluate.baselines=[]", "force=true", "reason=a",
    )  # fmt: skip
    run("towers.train", *SHOP, *small[:-4], cwd=shop, path=str(ROOT))
    run("serve.publish", *SHOP, *small, cwd=shop, path=str(ROOT))
    (manifest,) = ((shop / "var").glob(f"{kind}/*/manifest.json") for kind in ["releases"])
    (release,) = [json.loads(path.read_text()) for path in manifest]
    assert release["plugins"] == [{"name": "shop", "version": "1.0"}]
    assert release["config"]["loss"]["kind"] == "hinge"
    (shop / OWN).rename(shop / "aside")
    with pytest.raises(AssertionError, match=r"made with plugin shop 1\.0, which is not available here"):
        run("serve.promote", cwd=shop, path=str(ROOT))
    assert not (shop / "var" / "releases" / "live.json").exists()
    (shop / "aside").rename(shop / OWN)
    assert "is live" in run("serve.promote", cwd=shop, path=str(ROOT)), "it imports the plugin by itself"
    init = shop / OWN / "__init__.py"
    init.write_text(init.read_text().replace("1.0", "2.0"))
    for command in ("serve.verify", "serve.promote"):
        with pytest.raises(AssertionError, match=r"made with plugin shop 1\.0, and 2\.0 is installed here"):
            run(command, cwd=shop, path=str(ROOT))
    shutil.rmtree(shop / OWN)
    with pytest.raises(AssertionError, match=r"made with plugin shop 1\.0, which is not available here"):
        run("serve.verify", cwd=shop, path=str(ROOT))


@pytest.mark.slow
def test_towers_are_trained_with_loss_sampler_and_encoder(stack: Path, tmp_path: Path) -> None:
    small = ("tracking=off", "train.epochs=1", "data.source.num_users=200", "data.source.num_items=100")
    parts = ("loss=hinge", "+loss.negatives.square_root=64", "model.history=latest")
    run("towers.train", *small, *parts, cwd=tmp_path, path=str(stack))
    (manifest,) = (tmp_path / "var" / "checkpoints").glob("*/manifest.json")
    config = json.loads(manifest.read_text())["config"]
    assert (config["loss"]["kind"], config["model"]["history"]) == ("hinge", "latest")
