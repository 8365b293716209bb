"""Workers to which our code was sent import that, and not what their image has installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conf.schema import FOLDER
from data.cluster.session import with_own_code
from twotower.own_packages import VARIABLE

IMPORTING = "import twotower.own_packages as o; o.find_first_if_meant(); import data; print(data.__file__)"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """`image`, with the distribution; `sent`, where Ray puts what it sends; `here`, with somebody's own `data`."""
    for name in ("image", "sent", "here"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data" / "__init__.py").touch()
    shutil.copytree(FOLDER.parent / "twotower", tmp_path / "image" / "twotower")
    return tmp_path


@pytest.mark.parametrize(
    ("runtime_env", "taken"),
    [({}, "image"), ({"working_dir": "."}, "sent"), ({"py_modules": ["conf", "data"]}, "sent")],
)
def test_what_was_sent_goes_before_what_is_installed(
    folders: Path, runtime_env: dict[str, object], taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray puts what it sends on PYTHONPATH, and the folder of the command before it; the image comes last."""
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.delenv("TWOTOWER_PLUGINS", raising=False)
    variables = with_own_code(runtime_env)["env_vars"]
    assert isinstance(variables, dict)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(folders / 'image')!r}); {IMPORTING}"],
        cwd=folders / "here", env={**os.environ, "PYTHONPATH": str(folders / "sent"), **variables},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(folders / taken / "data" / "__init__.py")
