"""Addresses of Milvus in all forms that pymilvus takes; a password is in no message."""

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
     "http://u:secret@m:1/a/b", "http://u:secret@m?db=x"],
)  # fmt: skip
def test_others_are_refused_without_their_password(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"^index\.uri: ") as caught:
        IndexConfig(uri=uri)
    assert "secret" not in str(caught.value)


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
