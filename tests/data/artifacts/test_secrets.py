"""Secrets: from the environment or, where that has none, from a file."""

from pathlib import Path

import pytest

from data.artifacts.errors import ConfigError
from data.artifacts.secrets import secret


def test_a_secret_is_in_the_environment_or_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert secret("A_KEY") == ""
    (tmp_path / "key").write_text("from the file\n")
    monkeypatch.setenv("A_KEY_FILE", str(tmp_path / "key"))
    assert secret("A_KEY") == "from the file"
    monkeypatch.setenv("A_KEY", "from the environment")
    assert secret("A_KEY") == "from the environment"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"A_KEY_FILE: .*none cannot be read"):
        secret("A_KEY")
