"""The layout holds: commands at the top of a package, mechanisms in folders, modules of a readable size."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from conf.schema import Config
from conf.verbs import EVERY_VERB, VERBS, uses

ROOT = Path(__file__).parents[1]
PACKAGES = ("data", "towers", "serve", "conf")
FOLDERS = {
    "data": {"artifacts", "cluster", "dataset", "sequences", "sources"},
    "towers": {"checkpoint", "evaluation", "model", "reranking", "sweeps", "training"},
    "serve": {
        "access", "api", "batch", "demonstration", "deployment", "events", "experiments", "filters", "index", "laps",
        "observability",
        "operations", "pipeline", "releases", "rollout", "viewer",
    },
}  # fmt: skip
MOST_LINES, MOST_FUNCTION_LINES, MOST_FILES = 250, 50, 14
GENERATED = re.compile(r"recommender_pb2(_grpc)?\.pyi?$")
FILES = [
    path
    for folder in (*PACKAGES, "hydra_plugins", "twotower", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not GENERATED.search(path.name)
]


def test_the_folders_of_each_package() -> None:
    for package, folders in FOLDERS.items():
        found = {path.name for path in (ROOT / package).iterdir() if path.is_dir() and path.name != "__pycache__"}
        assert found == folders, package


def test_a_file_on_top_of_a_package_is_a_command() -> None:
    files = [(package, path.stem) for package in FOLDERS for path in (ROOT / package).glob("*.py")]
    commands = {f"{package}.{name}" for package, name in files if name != "__init__"}
    assert commands - {"serve.client"} == set(VERBS) - {"serve.releases"}
    assert (ROOT / "serve" / "releases" / "__main__.py").exists()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES, "split it: a module is one idea"
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f.name for f in functions if (f.end_lineno or 0) - f.lineno + 1 > MOST_FUNCTION_LINES]
    assert not long, f"a function fits in a glance: {long}"
    if "tests" not in path.parts:
        assert ast.get_docstring(ast.parse(text)), "say what the module is for"


def test_no_folder_has_too_many_files() -> None:
    tops = {ROOT / package for package in FOLDERS}  # as many files as there are commands
    for folder in {path.parent for path in FILES} - tops:
        files = [path for path in folder.iterdir() if path.is_file() and not GENERATED.search(path.name)]
        assert len(files) <= MOST_FILES, folder


def _read(module: str) -> set[str]:
    """Config fields that a command's own code reads, such as `release` or `serve.ready_within_s`."""
    found = importlib.import_module(module)
    if not hasattr(found, "task"):
        found = importlib.import_module(f"{module}.__main__")
    assert found.__file__ is not None
    tree = ast.parse(Path(found.__file__).read_text())
    chains = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {chain.removeprefix("config.") for chain in chains if chain.startswith("config.")}


@pytest.mark.parametrize("verb", VERBS)
def test_a_command_declares_what_it_reads(verb: str) -> None:
    undeclared = {field for field in _read(verb) if not uses(verb, field)}
    assert not undeclared, "add it to conf/verbs.py, or users are told that it is not used"


def test_each_value_of_the_config_is_used_by_some_command() -> None:
    for field in Config.__dataclass_fields__:
        assert field in EVERY_VERB or any(uses(verb, field) for verb in VERBS), field
