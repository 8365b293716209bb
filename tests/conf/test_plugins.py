"""Plugins that a command line or a yaml file names: imported in time, and what is wrong with them is one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf.chosen_plugins import chosen_plugins, refuse_shadows
from conf.schema import FOLDER
from data.artifacts.errors import ConfigError
from data.artifacts.plugins import PluginUnavailable, in_use, recorded, require, shipped, use, version
from data.cluster.session import with_own_code

LOSS = """
from towers.training.losses import LOSSES, Loss
@LOSSES.register("{name}")
class Own(Loss):
    def __call__(self, *_): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path, without plugins in use."""
    monkeypatch.setenv("TWOTOWER_PLUGINS", "")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "towers.train", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ({}, ["plugins=[nowhere]"], "plugins: there is no module nowhere; install its package, or put the folder"),
        (
            {"broken.py": "\n1 / 0\n"}, ["plugins=[broken]"],
            "plugins: broken cannot be imported: ZeroDivisionError: division by zero (<folder>/broken.py, line 2)",
        ),
        (
            {"needs.py": "import nowhere_to_be_found\n"}, ["plugins=[needs]"],
            "plugins: needs cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found' (",
        ),
        ({"wrong.py": "def f(:\n"}, ["plugins=[wrong]"], "plugins: wrong cannot be imported: SyntaxError: "),
        (
            {"ends.py": "import sys\nsys.exit('use --run')\n"}, ["plugins=[ends]"],
            "plugins: ends cannot be imported: SystemExit: use --run (<folder>/ends.py, line 2)",
        ),
        (
            {"my/experiment/mine.yaml": "# @package _global_\nplugins: shop\n"},
            ["--config-dir", "my", "experiment=mine"],
            "plugins: shop is no list of modules, such as plugins=[my_package] (in my/experiment/mine.yaml)",
        ),
        (
            {"my/hydra/launcher/ray.yaml": ""}, ["--config-dir", "my"],
            "--config-dir: my/hydra/launcher/ray.yaml has the name of a file of the recommender (hydra/launcher=ray),",
        ),
        (
            {"my/hydra/sweeper/optuna.yaml": ""}, ["--config-dir", "my"],
            "--config-dir: my/hydra/sweeper/optuna.yaml has the name of a file of the recommender (hydra/sweeper=op",
        ),
        ({}, ["--config-dir", "nowhere"], "--config-dir: there is no folder nowhere; name one with yaml of your own"),
        ({}, ["--config-dir", "nowhere", "--help"], "--config-dir: there is no folder nowhere; name"),
        ({"one.py": ""}, ["plugins=[one,one]"], "plugins: one is named twice; name it once"),
        ({}, ["plugins=[data]"], "plugins: data is a package of the recommender itself; name one of your own"),
        ({}, ["plugins=shop"], "plugins: shop is no list of modules, such as plugins=[my_package]"),
        ({}, ["plugins=['a b']"], "plugins: 'a b' is no name of a module; give one that Python can import"),
        (
            {"one.py": LOSS.format(name="mine"), "two.py": LOSS.format(name="mine")}, ["plugins=[one,two]"],
            "loss.kind: one.Own and two.Own both register the name 'mine'; rename one",
        ),
        (
            {"one.py": LOSS.format(name="softmax")}, ["plugins=[one]"],
            "loss.kind: towers.training.losses.softmax and one.Own both register the name 'softmax'; rename one",
        ),
        (
            {"my/data/gowalla.yaml": "name: mine\n"}, ["--config-dir", "my"],
            "--config-dir: my/data/gowalla.yaml has the name of a file of the recommender (data=gowalla), and one",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(files: dict[str, str], arguments: list[str], message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = started(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message.replace('<folder>', str(tmp_path))}"), done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        (["plugins=[a,b.c]"], ["a", "b.c"]),
        (["+plugins=[a]", "seed=1"], ["a"]),
        (["experiment=shop"], ["shop"]),
        (["experiment=shop,other"], ["shop", "more"]),
        (["experiment=[grid, other]"], ["shop", "more"]),
        (["experiment=shop", "plugins=[a]"], ["a"]),
        (["experiment=damaged"], []),
        (["data=gowalla", "seed=3"], []),
    ],
)
def test_which_are_chosen(overrides: list[str], found: list[str], tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    for name, text in {"shop": "plugins: [shop]", "other": "plugins: [shop, more]", "damaged": "a: ["}.items():
        (tmp_path / "experiment" / f"{name}.yaml").write_text(text)
    assert chosen_plugins(overrides, [tmp_path, FOLDER]) == found


def test_a_source_in_a_folder_of_ones_own_hides_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "data" / "source").mkdir(parents=True)
    (tmp_path / "data" / "source" / "movielens.yaml").touch()
    with pytest.raises(ConfigError, match=r"^--config-dir: .*movielens\.yaml has the name of a file"):
        refuse_shadows([tmp_path], FOLDER)


def test_processes_and_workers_get_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWOTOWER_FINDS_ITSELF_FIRST", raising=False)
    (folder / "package_here").mkdir()
    (folder / "package_here" / "__init__.py").touch()
    (folder / "module_here.py").write_text("__version__ = '3.1'\n")
    use(["package_here", "module_here"])
    assert in_use() == ("package_here", "module_here")
    assert recorded() == [{"name": "package_here", "version": None}, {"name": "module_here", "version": "3.1"}]
    assert shipped() == [str(folder / "package_here"), str(folder / "module_here.py")]
    environment = with_own_code({"env_vars": {"A": "1"}, "py_modules": ["p"]})
    assert environment["py_modules"] == ["p", *shipped()]
    assert environment["env_vars"] == {"A": "1", "TWOTOWER_PLUGINS": "package_here,module_here"}


def test_nothing_is_added_where_there_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWOTOWER_PLUGINS")
    monkeypatch.delenv("TWOTOWER_FINDS_ITSELF_FIRST", raising=False)
    assert with_own_code({"working_dir": "a"}) == {"working_dir": "a"}


def test_a_registry_of_a_worker_imports_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from towers.training.losses import LOSSES

    (folder / "worker_has_it.py").write_text(LOSS.format(name="of_a_worker"))
    assert "of_a_worker" not in LOSSES
    monkeypatch.setenv("TWOTOWER_PLUGINS", "worker_has_it")
    LOSSES.require("of_a_worker")
    assert LOSSES["of_a_worker"].__module__ == "worker_has_it"


def test_what_was_made_with_a_plugin_wants_it(folder: Path) -> None:
    (folder / "made_with.py").write_text("__version__ = '1.0'\n")
    require([{"name": "made_with", "version": "1.0"}, {"name": "made_with", "version": None}], "release r")
    assert in_use() == ("made_with",)
    other = [{"name": "made_with", "version": "0.9"}]
    require(other, "checkpoint c", same_version=False)
    with pytest.raises(
        PluginUnavailable, match=r"^release r: made with plugin made_with 0\.9, and 1\.0 is installed here; install"
    ):
        require(other, "release r")
    with pytest.raises(
        PluginUnavailable,
        match=r"^release r: made with plugin not_here 2, which is not available here \(plugins: there",
    ):
        require([{"name": "not_here", "version": "2"}], "release r")


def test_the_version_of_an_installed_distribution() -> None:
    import yaml  # of the distribution PyYAML

    assert version("yaml") == yaml.__version__
