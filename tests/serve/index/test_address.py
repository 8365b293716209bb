"""Addresses of Milvus in all forms that pymilvus takes; a password is in no message."""

import os
from pathlib import Path

import pytest

from data.artifacts.errors import ConfigError
from serve.index.address import MilvusAddress
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.index.protocol import IndexUnavailable


@pytest.mark.parametrize(
    ("uri", "server", "db_name", "token"),
    [
        ("http://127.0.0.1:19531", "http://127.0.0.1:19531", "", ""),
        ("http://milvus", "http://milvus:19530", "", ""),
        ("https://in03-1234.cloud.example", "https://in03-1234.cloud.example:443", "", ""),
        ("https://milvus:19530/", "https://milvus:19530", "", ""),
        ("http://milvus/shop", "http://milvus:19530", "shop", ""),
        ("http://[::1]:19530/shop", "http://[::1]:19530", "shop", ""),
        ("http://user:pa%40ss@milvus:1", "http://milvus:1", "", "user:pa@ss"),
        ("HTTP://Milvus:1", "http://milvus:1", "", ""),
    ],
)
def test_servers(uri: str, server: str, db_name: str, token: str) -> None:
    address = MilvusAddress.of(uri)
    assert (address.uri, address.db_name, address.token, address.database) == (server, db_name, token, None)
    assert str(address) == (f"{server}/{db_name}" if db_name else server)


def test_a_database_of_milvus_lite() -> None:
    assert MilvusAddress.of("~/my milvus.db").database == Path("~/my milvus.db").expanduser()


@pytest.mark.parametrize(
    "uri",
    ["nowhere", "tcp://u:secret@m:1", "http://u:secret@m:99999", "http://u:secret@m:x", "http://u:secret@", "https://",
     "http://u:secret@m:1/a/b", "http://u:secret@m?db=x", "u:secret@m:1", "secret@m:1", "u:secret@m/x.db",
     "http:/u:secret@m/x.db", "http://u:secret#1@m:1", "http://u:1/secret@m:1", "http://u:1?secret@m:1", "http://m/secret@x",
     "http://u:[secret@m", "http://u:x@secret:y", "http://u:se\u2100cret@m", "u:secret@m"],
)  # fmt: skip
def test_others_are_refused_without_their_password(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"^index\.uri: ") as caught:
        IndexConfig(uri=uri)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "a traceback would show it"


@pytest.mark.parametrize("raw", ["http://u:a/b@m", "http://u:a?b@m", "http://u:a#b@m", "http://m/a@b"])
def test_what_must_be_encoded_is_said(raw: str) -> None:
    with pytest.raises(ConfigError, match=r"^index\.uri: has a '/', '\?' or '#' before an '@' .*; percent-encode them"):
        MilvusAddress.of(raw)


def test_a_path_may_have_an_at(tmp_path: Path) -> None:
    assert MilvusAddress.of(f"{tmp_path}/a:me@work/milvus.db").database == tmp_path / "a:me@work" / "milvus.db"
    assert MilvusAddress.of("me@work/milvus.db").database == Path("me@work/milvus.db").absolute()


def test_a_password_moves_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", "")
    config = IndexConfig(uri="https://user:pa%40ss@host:1/a%20shop", timeout_s=3).with_token_in_environment()
    assert (config.uri, config.timeout_s, config.address.db_name) == ("https://host:1/a%20shop", 3, "a shop")
    assert os.environ["MILVUS_TOKEN"] == "user:pa@ss"
    assert IndexConfig(uri="http://other:one@[::1]").with_token_in_environment().uri == "http://[::1]:19530"
    assert os.environ["MILVUS_TOKEN"] == "user:pa@ss", "as for every command, the environment wins"
    assert IndexConfig().with_token_in_environment() == IndexConfig()


def test_no_message_of_a_failure_shows_a_password() -> None:
    config = IndexConfig(uri="http://user:secret@127.0.0.1:1/shop")
    assert "secret" not in repr(config.address)
    with pytest.raises(IndexUnavailable, match=r"no Milvus at http://127\.0\.0\.1:1/shop") as caught, connected(config):
        pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["root:se\ncret", "root:ärger", "root:\x00"])
def test_what_cannot_be_a_token_is_one_line(token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", token.replace("\x00", "\x7f"))
    with (
        pytest.raises(IndexUnavailable, match="MILVUS_TOKEN: holds characters other than printable ASCII") as caught,
        connected(IndexConfig(uri=str(tmp_path / "m.db"))),
    ):
        pass
    assert "\n" not in str(caught.value)
