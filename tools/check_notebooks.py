"""mypy over the notebooks: what they name is there, and takes the arguments that they pass.

mypy knows the types behind `catalogue.display(...)`, and so which names a change of the packages took away. Ends with 1
and the lines that it says where one is missing.
"""

import json
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]

MISSING = ("[attr-defined]", "[call-arg]", "[import-not-found]", "[name-defined]")
"""mypy's codes for a name that is not there, and an argument that is not taken."""


def main() -> int:
    """Checks each notebook as the body of a function, since cells may await."""
    with tempfile.TemporaryDirectory() as folder:
        files = [as_module(path, Path(folder)) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
        command = [sys.executable, "-m", "mypy", "--no-pretty", *map(str, files)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    missing = [line for line in done.stdout.splitlines() if line.endswith(MISSING)]
    could_look = done.returncode in (0, 1) and f"{len(files)} source files" in done.stdout
    if missing or not could_look:
        print(*missing or [done.stdout + done.stderr], sep="\n")
        return 1
    print(f"what {len(files)} notebooks name is there")
    return 0


def as_module(notebook: Path, folder: Path) -> Path:
    """Writes the cells of a notebook into a folder as a module; returns its path."""
    cells = json.loads(notebook.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    module = folder / f"notebook_{notebook.stem}.py"
    module.write_text(f"async def cells() -> None:\n{textwrap.indent(code, '    ')}\n")
    return module


if __name__ == "__main__":
    sys.exit(main())
