"""A Milvus server with TLS and users. (A machine has one server at a time: this one is gone before others.)"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pymilvus import MilvusClient

from conf.entry import FOLDER
from serve.index.collection import read_vectors, write_collection
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.index.protocol import IndexUnavailable
from tests.conftest import serving_milvus

TRUSTING_NOBODY = """
import sys
from serve.index.config import IndexConfig
from serve.index.protocol import IndexUnavailable
from serve.index.connection import connected
try:
    with connected(IndexConfig(uri=sys.argv[1], timeout_s=5)) as client:
        print(client.list_collections(timeout=5))
except IndexUnavailable as e:
    print("refused:", e)
"""


def test_the_password_that_everybody_knows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", "root:Milvus")
    refused = pytest.raises(IndexUnavailable, match="MILVUS_TOKEN: holds Milvus's default password")
    with refused, connected(IndexConfig(uri=str(tmp_path / "milvus.db"))):
        pass


def test_a_certificate_is_for_https(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"index\.ca_file: .*/ca\.pem must be a file, and index\.uri"):
        IndexConfig(uri="https://127.0.0.1:19530", ca_file=str(tmp_path / "ca.pem"))


@pytest.fixture
def guarded_server(tmp_path: Path, milvus_python: Path) -> Iterator[tuple[str, str]]:
    """A Milvus 2.3.5 with TLS and users: its address, and whom to trust."""
    name = "/CN=localhost"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", name]
    made += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    settings = {
        "authorization_enabled": True, "tls_mode": 1, "server_pem_path": str(tmp_path / "cert.pem"),
        "server_key_path": str(tmp_path / "key.pem"), "ca_pem_path": str(tmp_path / "cert.pem"),
    }  # fmt: skip
    with serving_milvus(tmp_path, milvus_python, **settings) as port:
        yield f"https://localhost:{port}", str(tmp_path / "cert.pem")


@pytest.mark.slow
def test_a_server_with_tls_and_users(guarded_server: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    uri, ca_file = guarded_server
    config = IndexConfig(uri=uri, ca_file=ca_file, timeout_s=10)
    client = MilvusClient(uri=uri, token="root:Milvus", server_pem_path=ca_file, timeout=30)
    client.update_password("root", "Milvus", "a-better-one")
    client.close()
    monkeypatch.setenv("MILVUS_TOKEN", "root:a-better-one")
    table = pa.table({"row": [1, 2], "vector": [[1.0, 0.0], [0.0, 1.0]]})
    write_collection(config, "twotower_ray_safe", [table], [], 2)
    assert read_vectors(config, "twotower_ray_safe", 2, 2).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    monkeypatch.setenv("MILVUS_TOKEN", "root:wrong")
    with pytest.raises(IndexUnavailable), connected(config) as client:
        client.list_collections(timeout=5)
    monkeypatch.setenv("MILVUS_TOKEN", "root:a-better-one")
    # in a process of its own: pymilvus keeps the connections of this one
    strangers = subprocess.run([sys.executable, "-c", TRUSTING_NOBODY, uri], cwd=FOLDER.parent, capture_output=True)
    assert strangers.stdout.decode().startswith("refused: index.uri: Milvus at https://localhost")
