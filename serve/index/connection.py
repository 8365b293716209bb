"""Reaching Milvus: a server by its address, or Milvus Lite, whose .db one process owns and the others reach through it.

Milvus Lite locks its .db for one process, which serves it on a loopback port. The owner writes that port beside the
file, so that a second process (publishing while the endpoint runs, say) goes through the first.
"""

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from milvus_lite.server_manager import server_manager_instance as lite
from pymilvus import AsyncMilvusClient, MilvusClient
from pymilvus.exceptions import MilvusException

from serve.index.config import IndexConfig
from serve.index.protocol import IndexUnavailable

DEFAULT_TOKEN = "root:Milvus"

TAKEOVER_S = 5.0
"""How long to look for the owner of a locked .db: it writes its port a moment after it takes the lock."""

_uses: dict[Path, int] = {}

# What fails is raised as IndexUnavailable. Before that, pymilvus logs a traceback of its own; gRPC logs one for each
# call that Milvus Lite does not know (AllocTimestamp, which its client then does without).
for _noisy in ("pymilvus", "grpc._server"):
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)


@contextmanager
def reached(config: IndexConfig) -> Iterator[str]:
    """An address (http://host:port) that any process of this machine can use as long as the block lasts.

    For a .db without an owner, this process owns it until the last such block ends.

    Raises:
        IndexUnavailable: nothing answers there.
    """
    if not config.uri.endswith(".db"):
        _knock(config.uri, config.timeout_s)
        yield config.uri
        return
    path = Path(config.uri).expanduser().absolute()
    address = _owner_address(path) if path not in _uses else None
    if address is not None:
        yield address
        return
    address = _take(path)
    _uses[path] = _uses.get(path, 0) + 1
    try:
        yield address
    finally:
        _uses[path] -= 1
        if not _uses[path]:
            del _uses[path]
            _owner_file(path).unlink(missing_ok=True)
            lite.release_server(str(path))


@contextmanager
def connected(config: IndexConfig) -> Iterator[MilvusClient]:
    """A client for as long as the block lasts; Milvus's own errors come out as IndexUnavailable."""
    with reached(config) as address:
        try:
            client = MilvusClient(uri=address, **_options(config))
            try:
                yield client
            finally:
                client.close()
        except MilvusException as e:
            raise unavailable(config, e) from e


def async_client(config: IndexConfig, address: str) -> AsyncMilvusClient:
    """A client for the running event loop, and no other."""
    return AsyncMilvusClient(uri=address, **_options(config))


def unavailable(config: IndexConfig, error: Exception) -> IndexUnavailable:
    """Milvus's error with the address and the cure."""
    text = " ".join(str(error).split())[:300]
    return IndexUnavailable(f"index.uri: Milvus at {config.uri}: {text}; is it up, and is this its address?")


def _options(config: IndexConfig) -> dict[str, Any]:
    """Of every client.

    Raises:
        IndexUnavailable: the password is the one that every Milvus is born with.
    """
    token = os.environ.get("MILVUS_TOKEN", "")
    if token == DEFAULT_TOKEN:
        raise IndexUnavailable(
            "MILVUS_TOKEN: holds Milvus's default password, which everybody knows; change it on the server (pymilvus:"
            " client.update_password) and set MILVUS_TOKEN=user:password"
        )
    trusted = {} if config.ca_file is None else {"server_pem_path": config.ca_file}
    return {"token": token, "timeout": config.timeout_s} | trusted


def _knock(uri: str, timeout_s: float) -> None:
    """A TCP connection, so that a wrong address is known at once: pymilvus itself retries for minutes."""
    host, _, port = uri.split("://", 1)[1].rstrip("/").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=timeout_s).close()
    except (OSError, ValueError) as e:
        raise IndexUnavailable(f"index.uri: no Milvus at {uri} ({e}); start it, or set index.uri") from e


def _owner_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.owner.json")


def _owner_address(path: Path) -> str | None:
    """The address at which a living owner serves the .db."""
    try:
        port = json.loads(_owner_file(path).read_text())["port"]
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except (OSError, ValueError, KeyError):
        return None
    return f"http://127.0.0.1:{port}"


def _take(path: Path) -> str:
    """Opens the .db in this process and says so beside it; where another process was faster, returns its address."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + TAKEOVER_S
    while time.monotonic() < deadline:
        with _quiet():
            address: str | None = lite.start_and_get_uri(str(path))
        if address is not None:
            aside = _owner_file(path).with_suffix(f".{os.getpid()}.partial")
            aside.write_text(json.dumps({"pid": os.getpid(), "port": int(address.rsplit(":", 1)[1])}))
            aside.replace(_owner_file(path))
            return address
        if (address := _owner_address(path)) is not None:
            return address
        time.sleep(0.1)
    raise IndexUnavailable(f"index.uri: {path} cannot be opened: another process holds it, or it is damaged")


@contextmanager
def _quiet() -> Iterator[None]:
    """Milvus Lite logs a traceback where the .db is locked, which is no fault here."""
    logger = logging.getLogger("milvus_lite.server_manager")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    with suppress(OSError):
        try:
            yield
        finally:
            logger.setLevel(before)
