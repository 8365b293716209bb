"""`--help` says what a command does, and the meaning of each value that it uses."""

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from conf.entry import _command
from conf.help import attributes, help_text, wants_help
from conf.overrides import RENAMED
from conf.schema import FOLDER, Config, composed
from conf.single_run import composing_once
from conf.verbs import VERBS, uses
from tests.documentation import Command, check_overrides

composed_once = cache(composed)


def shown(verb: str, *overrides: str) -> str:
    docstring = _command(verb).__doc__ or ""
    return help_text(f"python -m {verb}", verb, docstring, composed_once(overrides), [FOLDER])


@pytest.mark.parametrize("verb", VERBS)
def test_it_shows_the_values_that_the_command_uses_each_with_its_meaning(verb: str) -> None:
    lines = shown(verb).partition("Values:\n")[2].splitlines()
    values = [line.strip() for line in lines if re.match(r"  \S", line)]
    assert values
    for at, line in enumerate(lines):
        if re.match(r"  \S", line):
            assert uses(verb, line.strip().partition("=")[0])
            assert re.match(r"      \S", lines[at + 1]), f"{line}: say in its docstring what it means"


def test_it_shows_what_the_overrides_give() -> None:
    assert "\n  percent=5.0\n" in shown("serve.promote", "percent=5")
    assert "  index.uri=http://***@host\n" in shown("serve.run", "index.uri=http://root:Secret9@host")
    assert "\n  data.name=toys\n" in shown("towers.train", "data=toys")
    assert "=???\n" in shown("data.prepare", "data=csv")


def test_it_names_the_yaml_files_of_its_groups_alone() -> None:
    text = shown("serve.promote")
    assert "\n  index: milvus, replica\n" in text
    assert "experiment:" not in text
    assert "\n  data: csv, events, gowalla, movielens" in shown("data.prepare")


def test_the_meaning_of_several_fields_is_told_for_each() -> None:
    assert attributes(Config)["release"].startswith("a release id; null means the newest release for serve.promote")
    assert set(RENAMED).isdisjoint(attributes(Config))


@pytest.mark.parametrize(
    ("arguments", "answer"), [(["--help"], True), (["-h", "data=toys"], True), (["keep=2"], False), ([], False)]
)
def test_who_asks_for_help(arguments: list[str], answer: bool) -> None:
    assert wants_help(arguments) is answer


def asked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serve.prune", *arguments]
    environment = {"PYTHONPATH": str(FOLDER.parent)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_it_is_printed_and_nothing_is_run(tmp_path: Path) -> None:
    done = asked(tmp_path, "--help", "keep=7")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Removes old releases")
    assert "\n  keep=7\n" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_mistake_beside_it_is_one_line(tmp_path: Path) -> None:
    done = asked(tmp_path, "--help", "index=none")
    assert done.returncode == 2
    assert done.stderr.startswith("error: In 'config': Could not find 'index/none'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "spared"),
    [
        ([], True),
        (["keep=2", "index.uri=a.db"], True),
        (["-m", "seed=0,1"], False),
        (["hydra.mode=MULTIRUN"], False),
        (["experiment=grid"], False),
        (["--config-dir", "mine"], False),
    ],
)
def test_hydra_composes_once_where_no_sweep_can_be_meant(arguments: list[str], spared: bool) -> None:
    from hydra._internal.hydra import Hydra

    ours = Hydra.get_mode
    with composing_once(arguments, FOLDER):
        assert (Hydra.get_mode is not ours) is spared
    assert Hydra.get_mode is ours


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_its_examples_can_be_typed(verb: str) -> None:
    _, _, section = (_command(verb).__doc__ or "").partition("\nExamples:\n")
    examples = [shlex.split(line) for line in section.splitlines()]
    assert examples
    for words in examples:
        assert words[:3] == ["python", "-m", verb]
        check_overrides(Command(verb, tuple(words[2:])))
