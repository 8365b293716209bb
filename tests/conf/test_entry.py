"""How commands end: a mistake in one line, a fault in one line that names the file with its traceback."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conf.overrides import renamed, with_release
from conf.schema import FOLDER, load
from data.artifacts.errors import ConfigError

BROKEN = """
from data.artifacts.errors import ConfigError

def task(config):
    if config.keep == 2:
        raise ConfigError("keep: 2 is a mistake;\\n take 3")
    if config.keep == 5:
        raise ValueError(f"{config.index.uri} cannot be reached by {config.index.uri.rpartition(':')[2]}")
    if config.keep == 6:
        return {}
    if config.keep == 4:
        raise KeyboardInterrupt
    raise ValueError("a library's own complaint")
"""


def launch(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "broken.py").write_text(BROKEN)
    command = [sys.executable, "-c", "from conf.entry import launch; launch('broken')", *arguments]
    paths = {"PYTHONPATH": f"{FOLDER.parent}{os.pathsep}{folder}", **environment}
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **paths}, capture_output=True, text=True, timeout=300
    )  # fmt: skip


def test_a_users_mistake_is_one_line(tmp_path: Path) -> None:
    done = launch(tmp_path, "keep=2")
    assert (done.returncode, done.stderr) == (2, "error: keep: 2 is a mistake; take 3\n")
    assert not list(tmp_path.rglob("traceback.txt"))


def test_another_error_keeps_its_traceback_in_a_file(tmp_path: Path) -> None:
    done = launch(tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    found = re.fullmatch(r"error: unexpected ValueError: a library's own complaint; its traceback is in (.+)", line)
    assert found is not None
    text = Path(found[1]).read_text()
    assert "Traceback (most recent call last)" in text
    assert "in task" in text


def test_the_traceback_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    done = launch(tmp_path, HYDRA_FULL_ERROR="1")
    assert "Traceback (most recent call last)" in done.stderr
    assert "a library's own complaint" in done.stderr


@pytest.mark.parametrize("flags", [[], pytest.param(["-m"], marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", ["logs/dt=2024-01-01", "logs/{a}/b", "a;b", "C:\\logs=1"])
def test_a_path_that_hydra_cannot_read_is_named_with_its_cure(tmp_path: Path, path: str, flags: list[str]) -> None:
    done = launch(tmp_path, "data=csv", f"data.source.interactions={path}", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: data.source.interactions: {path!r} cannot be read as it stands (")
    (cured,) = shlex.split(done.stderr.partition("put inner quotes around it: ")[2])
    assert load(["data=csv", cured]).data.source.interactions == path  # type: ignore[attr-defined]


def test_an_interrupt_says_nothing(tmp_path: Path) -> None:
    done = launch(tmp_path, "keep=4")
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("evaluate.floors=[popularity]", "evaluate.baselines=[popularity]"),
        ("++evaluate.peers=[]", "++evaluate.published=[]"),
        ("seed=1", "seed=1"),
    ],
)
def test_renamed_keys_are_taken_with_a_notice(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert renamed([old]) == [new]
    notice = capsys.readouterr().err
    assert ("is now called" in notice) == (old != new)


@pytest.mark.parametrize(
    ("override", "cure"),
    [
        ("hydra.launcher.timeout_s=5", "hydra/launcher=ray brings such options: give it too"),
        ("hydra.sweeper.minutes=5", "hydra/sweeper=optuna brings such options: give it too"),
    ],
)
def test_an_option_of_a_launcher_or_sweeper_that_was_not_chosen_names_the_choice(override: str, cure: str) -> None:
    with pytest.raises(ConfigError, match=cure) as caught:
        load([override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override", ["items=i00007", "key.scopes=recommend", "require=promote", "data.source.columns.context=daypart"]
)
def test_a_word_in_place_of_a_list_is_named_with_its_cure(override: str) -> None:
    """As in a recall, when nobody has time to look up how a list is written."""
    key, _, value = override.partition("=")
    with pytest.raises(ConfigError) as caught:
        load(["data=csv", "data.source.interactions=x", override])
    assert str(caught.value).endswith(f"a list stands in brackets: {key}=[{value}]")
    load(["data=csv", "data.source.interactions=x", str(caught.value).rpartition(": ")[2]])


def test_an_old_key_has_the_effect_of_the_new_one() -> None:
    assert load(["evaluate.floors=[]"]).evaluate.baselines == []


def test_the_module_of_a_command_is_known_by_its_name_before_the_config_is_composed(tmp_path: Path) -> None:
    """A sweep asks it what its trials need (`demand`), before any trial has run."""
    code = "import sys, hydra; hydra.main = lambda **_: lambda run: lambda: print(sys.modules[run.__module__].task)"
    command = [sys.executable, "-c", f"{code}\nfrom conf.entry import launch; launch('towers.train')"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(FOLDER.parent)}, capture_output=True
    )
    assert done.stdout.startswith(b"<function task")


@pytest.mark.parametrize(
    ("verb", "typed", "meant"),
    [
        ("serve.promote", ["r1"], ["release=r1"]),
        ("serve.promote", ["percent=5", "r1"], ["percent=5", "release=r1"]),
        ("serve.verify", ["--config-dir", "r1", "r1", "--help"], ["--config-dir", "r1", "release=r1", "--help"]),
        ("serve.promote", ["r1", "r2"], ["r1", "r2"]),
        ("serve.promote", ["r1,r2"], ["r1,r2"]),
        ("serve.promote", ["~percent"], ["~percent"]),
        ("serve.rollback", ["r1"], ["r1"]),
    ],
)
def test_a_bare_word_is_a_release_where_a_command_takes_one(verb: str, typed: list[str], meant: list[str]) -> None:
    assert with_release(verb, typed) == meant


@pytest.mark.parametrize("uri", ["http://root:Sec!ret9@milvus:19530", "root:Secret9@milvus:19530"])
def test_a_password_that_cannot_be_read_is_not_repeated(tmp_path: Path, uri: str) -> None:
    done = launch(tmp_path, f"index.uri={uri}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: index.uri: ")
    assert "ret9" not in done.stderr


@pytest.mark.parametrize("arguments", [("keep=5",), ("keep=6",), ("-m", "keep=6")])
def test_a_run_writes_no_password(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = launch(tmp_path, *arguments, "index.uri=http://root:Secret9@milvus", "storage.root=./stored")
    assert done.returncode == ("keep=5" in arguments)
    assert "Secret9" not in done.stdout + done.stderr
    written = {path: path.read_text() for path in (tmp_path / "stored").rglob("*") if path.is_file()}
    names = {path.name for path in written}
    assert {"overrides.yaml", "config.yaml", "hydra.yaml"} <= names
    assert ("multirun.yaml" in names) == ("-m" in arguments)
    assert ("traceback.txt" in names) == ("keep=5" in arguments)
    assert not [path for path, text in written.items() if "Secret9" in text]
    (overrides,) = [text for path, text in written.items() if path.name == "overrides.yaml"]
    assert "***@milvus" in overrides
