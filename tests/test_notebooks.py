"""Notebooks import the packages, define nothing, carry no output, and run."""

import ast
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_defines_nothing_and_carries_no_output(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    tree = ast.parse("\n".join(cell.source for cell in cells))
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node for node in ast.walk(tree) if isinstance(node, definitions)]


def executed(notebook: Path) -> list[Any]:
    """The outputs of a notebook, which is executed in place."""
    environment = {**os.environ, "PYTHONPATH": str(NOTEBOOKS[0].parents[1])}
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", str(notebook)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    return [output for cell in cells for output in cell.outputs]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    copy = tmp_path / "notebooks" / path.name
    copy.write_text(path.read_text())
    outputs = executed(copy)
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("features", ["", "{name: tags, kind: multi_categorical}"], ids=["none", "lists"])
def test_the_first_goes_the_same_way_with_another_log(features: str, tmp_path: Path) -> None:
    """It named features of the synthetic log, and ended in a KeyError."""
    chance = random.Random(0)
    lines = [f"u{n % 80},i{chance.randrange(200)},{1_700_000_000 + 3600 * n}" for n in range(2400)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,time", *lines]))
    tags = [f"i{n},{'' if n == 5 else f'tag {n % 30}|tag {n % 4}'}" for n in range(200)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,tags", *tags]))
    log = [
        "data=csv", f"data.source.interactions={tmp_path}/log.csv", f"data.source.items={tmp_path}/items.csv",
        f"data.source.item_features=[{features}]", "model.embedding_dim=8", "rerank.epochs=1",
    ]  # fmt: skip
    (tmp_path / "notebooks").mkdir()
    copy = tmp_path / "notebooks" / NOTEBOOKS[0].name
    text = NOTEBOOKS[0].read_text()
    assert "log: list[str] = []" in text
    copy.write_text(text.replace("log: list[str] = []", json.dumps(f"log = {log}")[1:-1]))
    outputs = executed(copy)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
