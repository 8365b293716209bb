"""JSON is valid, whatever a measurement came to."""

import ast
import json
import math
from pathlib import Path

import data
from data.artifacts.folders import Folder
from data.artifacts.json_text import json_text
from towers.sweeps.records import Record, Records, State

ROOT = Path(data.__file__).parents[1]
NOT_FILES = {
    "data/artifacts/json_text.py",
    "data/artifacts/structured.py",  # values that go through json_text when they are written
    "data/dataset/preparation.py",  # the text that a digest is made of
    "towers/training/runs.py",  # the same
    "serve/api/body_limit.py",  # a text of its own
    "serve/batch/made_without.py",  # a note of numbers within an Arrow file, and the text that a digest is made of
    "serve/deployment/endpoint.py",  # an example request
    "serve/filters/expression.py",  # a quoted text
    "serve/filters/grammar.py",  # an example filter
    "serve/viewer/question.py",  # conditions, as text that people read and edit
    "serve/viewer/snippets.py",  # a request to copy
}


def strictly(text: str) -> object:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_not_finite_becomes_null() -> None:
    value = {"a": math.nan, "b": [1.5, math.inf, {"c": (-math.inf, 2)}], "d": "NaN", "e": True}
    assert strictly(json_text(value)) == {"a": None, "b": [1.5, None, {"c": [None, 2]}], "d": "NaN", "e": True}


def test_folders_and_records_are_valid(tmp_path: Path) -> None:
    Folder.of(str(tmp_path)).write_json("x.json", {"loss": math.nan})
    assert strictly((tmp_path / "x.json").read_text()) == {"loss": None}
    records = Records(tmp_path)
    epochs = [(1, {"loss": math.nan})]
    records.add(Record(number=0, overrides=["a=1"], state=State.finished, result={"loss": math.inf}, epochs=epochs))
    strictly((tmp_path / "trials.jsonl").read_text())
    (found,) = records.read()
    assert (found.value("loss"), found.epochs) == (None, [(1, {"loss": None})])


def test_all_writers_use_it() -> None:
    """`json.dumps` would write NaN, which no other reader takes."""
    found = set()
    for package in ("conf", "data", "towers", "serve", "hydra_plugins"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.dumps", "json.dump"):
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == NOT_FILES
