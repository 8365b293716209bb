"""Notebooks import the packages, define nothing, carry no output, and run."""

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

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


NAMES = ("[attr-defined]", "[call-arg]", "[import-not-found]", "[name-defined]")
"""mypy's codes for a name that is not there, and an argument that is not taken."""


def test_what_they_name_is_there(tmp_path: Path) -> None:
    """mypy knows the types behind `catalogue.display(...)`, and so which names a change of the packages took away."""
    for path in NOTEBOOKS:
        cells = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
        body = textwrap.indent(cells, "    ")
        (tmp_path / f"notebook_{path.stem}.py").write_text(f"async def cells() -> None:\n{body}\n")
    files = [str(file) for file in sorted(tmp_path.glob("*.py"))]
    command = [sys.executable, "-m", "mypy", "--no-pretty", *files]
    done = subprocess.run(command, cwd=NOTEBOOKS[0].parents[1], capture_output=True, text=True, timeout=400)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 2: it could not look
    assert f"checked {len(files)} source files" in done.stdout or "no issues found" in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.endswith(NAMES)]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    copy = tmp_path / "notebooks" / path.name
    copy.write_text(path.read_text())
    environment = {**os.environ, "PYTHONPATH": str(path.parents[1])}
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", str(copy)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [o for cell in nbformat.read(copy, as_version=4).cells if cell.cell_type == "code" for o in cell.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 3
