"""FAISS is imported in one place, which sets what it needs beside torch on macOS."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FAKE = """
import os
threads = None
allowed = os.environ.get("KMP_DUPLICATE_LIB_OK")
def omp_set_num_threads(number):
    global threads
    threads = number
"""


def test_nothing_else_imports_it() -> None:
    allowed = {"serve/index/faiss_library.py", "tests/serve/index/test_faiss_library.py"}
    found = {
        path.relative_to(ROOT).as_posix()
        for package in ("data", "towers", "serve", "conf", "hydra_plugins", "tests", "notebooks")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"^\s*(import|from) (faiss|milvus_lite)\b", path.read_text(), re.MULTILINE)
    }
    assert found <= allowed, "from serve.index.faiss_library import faiss"


@pytest.mark.parametrize(
    ("platform", "set_before", "seen"),
    [("darwin", None, "TRUE 1"), ("darwin", "FALSE", "FALSE 1"), ("linux", None, "None None")],
)
def test_two_openmp_runtimes_are_allowed_on_macos_alone(
    tmp_path: Path, platform: str, set_before: str | None, seen: str
) -> None:
    (tmp_path / "faiss.py").write_text(FAKE)
    before = f"os.environ['KMP_DUPLICATE_LIB_OK'] = {set_before!r}; " if set_before else ""
    code = (
        f"import os, sys, importlib.util as u; {before}sys.platform = {platform!r};"
        f" s = u.spec_from_file_location('library', {str(ROOT / 'serve/index/faiss_library.py')!r});"
        " m = u.module_from_spec(s); s.loader.exec_module(m); print(m.faiss.allowed, m.faiss.threads)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KMP_DUPLICATE_LIB_OK"}
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{ROOT}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == seen, done.stderr


def test_it_is_allowed_before_milvus_lite_imports_faiss(tmp_path: Path) -> None:
    """The connection to Milvus is often imported before the index is."""
    (tmp_path / "faiss.py").write_text(FAKE)
    code = (
        "import sys, psutil, grpc, pymilvus; assert 'faiss' not in sys.modules; sys.platform = 'darwin';"
        " import serve.index.connection as connection; connection.milvus_lite();"
        " import faiss; assert 'milvus_lite' in sys.modules; print(faiss.allowed, faiss.threads)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KMP_DUPLICATE_LIB_OK"}
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{ROOT}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "TRUE 1", done.stderr
