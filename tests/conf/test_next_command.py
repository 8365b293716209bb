"""The command to give next works where the running one did."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conf.next_command import next_command
from conf.schema import FOLDER

COMMAND = """
from conf.next_command import next_command

def task(config):
    print(next_command("serve.promote", "release=r1"))
    print(next_command("serve.releases"))
"""


def printed(folder: Path, *arguments: str) -> list[list[str]]:
    (folder / "mine.py").write_text(COMMAND)
    done = subprocess.run(
        [sys.executable, "-c", "from conf.entry import launch; launch('mine')", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{FOLDER.parent}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def test_storage_and_index_of_the_running_command_are_carried(tmp_path: Path) -> None:
    typed = ["storage.root=a b", "index=milvus", "index.uri=http://u:secret@x:1", "data.name=x", "release=r0"]
    promote, releases = printed(tmp_path, *typed)
    assert promote == ["python", "-m", "serve.promote", "release=r1", typed[0], typed[1], "index.uri=http://***@x:1"]
    assert releases == ["python", "-m", "serve.releases", "storage.root=a b"]


def test_the_place_of_the_config_is_carried(tmp_path: Path) -> None:
    (tmp_path / "my conf").mkdir()
    (tmp_path / "my conf" / "shop.yaml").write_text("defaults: [config, _self_]\nstorage:\n  root: shop\n")
    promote, _ = printed(tmp_path, "--config-dir", "my conf", "--config-name", "shop")
    options = ["--config-dir", str(tmp_path / "my conf"), "--config-name", "shop"]
    assert promote == ["python", "-m", "serve.promote", *options, "release=r1"]


def test_outside_of_a_command_nothing_is_carried() -> None:
    assert next_command("serve.promote", "release=r1") == "python -m serve.promote release=r1"


@pytest.mark.parametrize("path", sorted((FOLDER.parent / "serve").glob("*.py")), ids=lambda path: path.name)
def test_no_command_names_the_next_one_without_where_things_lie(path: Path) -> None:
    assert "Next: python -m" not in path.read_text()
