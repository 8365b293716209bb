"""`twotower` lists its verbs, runs them, and completes what is typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf.schema import FOLDER
from conf.verbs import VERBS
from twotower.__main__ import listing
from twotower.verbs import MODULES, VERBS_BY_USER

SOMEBODYS = "raise ImportError('this is not the package of the recommender')\n"


def twotower(
    *arguments: str, cwd: Path | None = None, module: tuple[str, ...] = ("-m", "twotower"), **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *module, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent), **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def test_every_command_is_a_verb() -> None:
    listed = [module for verbs in VERBS_BY_USER.values() for module in verbs]
    assert sorted(listed) == sorted(VERBS), "list the command in twotower/verbs.py"
    assert len(MODULES) == len(listed), "two commands have the same name"


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_it_lists_them_by_user(arguments: tuple[str, ...]) -> None:
    done = twotower(*arguments)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", listing() + "\n")
    assert "\nresearcher:\n  prepare " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_it_says_its_version() -> None:
    assert twotower("--version").stdout.startswith("twotower 0.")


def test_an_unknown_verb_is_one_line() -> None:
    done = twotower("promot")
    assert done.returncode == 2
    assert done.stderr == "error: 'promot' is no verb; did you mean promote? twotower alone lists the verbs\n"


def test_a_verb_is_the_command_of_this_name(tmp_path: Path) -> None:
    done = twotower("releases", cwd=tmp_path)
    assert done.stdout == f"{tmp_path}/var/releases: no release yet; run python -m serve.publish\n"
    assert len(list((tmp_path / "var" / "runs").glob("releases/*/summary.json"))) == 1


def test_help_names_it_as_it_was_typed() -> None:
    text = twotower("promote", "--help", "release=r1").stdout
    assert "\nUsage: twotower promote [key=value ...] [option ...]\n" in text
    assert "\n  release=r1\n" in text
    assert "python -m" not in text


def test_folders_that_are_called_like_ours_do_no_harm(tmp_path: Path) -> None:
    """To a verb, and to `python -m` where twotower.pth is read (here by hand, before Python looks for the module)."""
    for name in ("data", "conf", "serve", "towers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(SOMEBODYS)
    assert "no release yet" in twotower("releases", cwd=tmp_path).stdout
    pth = (FOLDER.parent / "twotower" / "start.pth").read_text()
    by_hand = f"import sys; sys.orig_argv = ['python', '-m', 'serve.releases']; {pth}"
    run = "import runpy; sys.path.insert(0, ''); runpy.run_module('serve.releases', run_name='__main__')"
    done = twotower(cwd=tmp_path, module=("-c", f"{by_hand}\n{run}"))
    assert "no release yet" in done.stdout, done.stderr


@pytest.mark.parametrize("theirs", [("-m", "data.prepare"), ("-m", "data.theirs"), ("-c", "import data"), ("a.py",)])
def test_somebody_elses_package_stays_theirs(theirs: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").touch()
    for name in ("prepare", "theirs"):
        (tmp_path / "data" / f"{name}.py").touch()
    pth = (FOLDER.parent / "twotower" / "start.pth").read_text()
    by_hand = f"import sys; sys.orig_argv = ['python', *{theirs!r}]; sys.path.insert(0, ''); {pth}"
    done = twotower(cwd=tmp_path, module=("-c", f"{by_hand}\nimport data; print(data.__file__)"))
    assert done.stdout.strip() == str(tmp_path / "data" / "__init__.py"), done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("twotower ", set(MODULES)),
        ("twotower pro", {"promote"}),
        ("twotower train data=mov", {"data=movielens", "data=movietweetings"}),
        ("twotower promote index=", {"index=replica", "index=milvus"}),
    ],
)
def test_shells_complete_verbs_and_then_values(typed: str, offered: set[str]) -> None:
    done = twotower("-sc", "query=bash", COMP_LINE=typed, COMP_POINT=str(len(typed)))
    assert offered <= set(done.stdout.split()), done.stderr
    if typed != "twotower promote index=":
        assert all(word.startswith(typed.rpartition(" ")[2]) for word in done.stdout.split())


def test_completion_is_installed_by_one_line() -> None:
    script = twotower("-sc", "install=bash").stdout
    assert "hydra_bash_completion" in script
    assert script.rstrip().endswith("-F hydra_bash_completion twotower")


@pytest.mark.parametrize("arguments", [("-sc",), ("promote", "-sc"), ("-sc", "install=tcsh"), ("-sc", "bash")])
def test_completion_without_a_shell_is_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = twotower(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: -sc: name what to do, and a shell (bash, fish or zsh), such as -sc install=bash\n"


@pytest.mark.parametrize("module", [("-m", "twotower", "promote"), ("-m", "serve.promote")])
def test_a_release_needs_no_key(module: tuple[str, ...], tmp_path: Path) -> None:
    done = twotower("r-1", "percent=5", cwd=tmp_path, module=module)
    assert done.returncode == 2
    assert "r-1" in done.stderr
    assert "override" not in done.stderr
    assert done.stderr == twotower("release=r-1", "percent=5", cwd=tmp_path, module=module).stderr
