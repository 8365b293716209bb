"""Secrets: from the environment or, where that has none, from a file; masked where values are recorded or printed."""

from pathlib import Path

import pytest

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.secrets import masked_override, recordable, secret, without_passwords


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


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        ("http://root:Secret9@host:19530/db", "http://***@host:19530/db"),
        ("s3://KEY:Sec/ret9@bucket/x?region=eu", "s3://***@bucket/x?region=eu"),
        ("s3://bucket/x?region=eu&secret_key=Secret9", "s3://bucket/x?region=eu&secret_key=***"),
        ("https://host/keys?token=Secret9", "https://host/keys?***"),
        ("https://Secret9@host/keys", "https://***@host/keys"),
        ("redis://:Secret9@host:6379/0", "redis://***@host:6379/0"),
        ("root:Secret9@host", "***@host"),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("s3://bucket/twotower", "s3://bucket/twotower"),
        ("ask ada@example.com", "ask ada@example.com"),
    ],
)
def test_what_is_recorded_of_a_config_has_no_secrets(value: str, recorded: str) -> None:
    assert recordable({"a": [{"b": value}], "n": 1, "none": None}) == {"a": [{"b": recorded}], "n": 1, "none": None}


def test_a_value_is_masked_for_what_its_name_says() -> None:
    values = {"env_vars": {"WANDB_API_KEY": "Secret9"}, "sasl.password": "Secret9", "redis_secret": "its name"}
    assert recordable(values) == {
        "env_vars": {"WANDB_API_KEY": "***"},
        "sasl.password": "***",
        "redis_secret": "its name",
    }
    assert masked_override("+ingest.properties={sasl.password: Secret9, a: b}").endswith("{sasl.password: ***, a: b}")
    assert masked_override("+ingest.properties={ssl.key.pem: '-----BEGIN, KEY', a: b}").endswith("pem: ***, a: b}")
    assert recordable({"ssl.key.pem": "Secret9"}) == {"ssl.key.pem": "***"}
    assert masked_override("hydra.launcher.env_vars.MY_TOKEN=Secret9") == "hydra.launcher.env_vars.MY_TOKEN=***"
    assert masked_override("key.rate=100/second") == "key.rate=100/second"


@pytest.mark.parametrize(
    "written",
    [
        "'Se,cret9'", '"Se,cret9"', r"'Se\',cret9'", r"Se\,cret9", "'Se}cret9'", "'Se@x,cret9'", r"\'Se,cret9\'",
        "'Se,cret9", "Se@cret9",
    ],
)  # fmt: skip
def test_a_secret_of_a_mapping_is_masked_however_it_is_quoted(written: str) -> None:
    said = masked_override(f"+ingest.properties={{a: b, sasl.password: {written}, c: d}}")
    assert "cret9" not in said and "Se" not in said
    assert said.startswith("+ingest.properties={a: b, sasl.password: ***") or "@" in written


def test_a_message_has_no_part_of_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["index.uri=http://root:Secret%409@host"]
    said = without_passwords("'http://root:Secret%409@host': root:Secret@9 is refused, Secret@9 is wrong", overrides)
    assert "Secret" not in said
    assert without_passwords("redis://:Secret9@host is gone", []) == "redis://***@host is gone"
    monkeypatch.setenv("SOME_TOKEN", "Secret9")
    secret("SOME_TOKEN")
    assert without_passwords("the server says that Secret9 has expired") == "the server says that *** has expired"


def test_a_storage_location_that_cannot_be_opened_is_named_without_its_credentials() -> None:
    with pytest.raises(ConfigError, match=r"storage location 's3x://\*\*\*@bucket/x'") as refused:
        Folder.of("s3x://KEY:Secret9@bucket/x")
    assert "Secret9" not in str(refused.value)
    assert "KEY" not in str(refused.value)
