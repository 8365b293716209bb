"""Connections to Milvus: to a server, or to Milvus Lite, which keeps its data in a .db that one process owns.

Milvus Lite locks its .db for one process, which serves it on a loopback port. The owner writes that port to a file
beside the .db, so that a second process, for example `serve.publish` while the endpoint runs, connects to the owner.
The file may outlive its owner, and another process may get its process id or its port: the second process connects only
if the process that wrote the file runs, and listens on that port. A secret in the file would add nothing to process id,
start time, path and listening port: Milvus Lite has no way to show one, so the second process could not ask for it.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
from pymilvus import AsyncMilvusClient, MilvusClient
from pymilvus.exceptions import MilvusException

from data.artifacts.json_text import json_text
from data.artifacts.secrets import secret
from data.cluster.machine import process_start
from data.cluster.processes import is_process_alive
from serve.index.address import MilvusAddress
from serve.index.config import TOKEN, IndexConfig
from serve.index.faiss_library import milvus_lite
from serve.index.lite_users import stop_when_unused, using
from serve.index.protocol import IndexUnavailable

DEFAULT_TOKEN = "root:Milvus"

OWNER_WAIT_S = 5.0
"""Seconds to wait for the owner of a locked .db, which writes its port a moment after it takes the lock."""

ERRORS = (MilvusException, grpc.RpcError, grpc.FutureTimeoutError)
"""What pymilvus raises where Milvus does not answer as it should."""

_num_users: dict[Path, int] = {}
"""For each .db that this process owns, how many blocks of `milvus_address` use it; changed under `_owning`."""

_owning = threading.Lock()

# Failures are raised as IndexUnavailable. Before that, pymilvus logs a traceback of its own, and gRPC logs one for each
# call that Milvus Lite does not implement (AllocTimestamp, which the client can do without).
for _noisy in ("pymilvus", "grpc._server"):
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)


@contextmanager
def milvus_address(config: IndexConfig, is_waited_for: bool = False) -> Iterator[str]:
    """Yields an address (http://host:port) that any process of this machine can use as long as the block lasts.

    It has neither user nor database, which clients get apart from it.

    A .db without an owner is owned by this process until its last such block ends, and no other process uses it.

    Args:
        is_waited_for: Whether another process that owns a .db waits for the end of this block before it ends. Otherwise
            the address may be gone within the block: then another block finds the next owner.

    Raises:
        IndexUnavailable: Nothing answers at the address, or the .db cannot be opened.
    """
    path = config.address.database
    if path is None:
        _check_reachable(config.address, config.timeout_s)
        yield config.address.uri
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as user:
        user.enter_context(using(path))  # before an owner is looked for: from now on it does not end
        address, is_owner = _served(path)
        if is_owner or not is_waited_for:
            user.close()
        try:
            yield address
        finally:
            if is_owner:
                _end_use(path)


def _end_use(path: Path) -> None:
    """Ends a use of a .db that this process owns. After the last one, its server stops when nobody else uses it."""
    with _owning:
        _num_users[path] -= 1

    def stop() -> None:
        with _owning:
            if _num_users.get(path) == 0:
                del _num_users[path]
                _owner_file(path).unlink(missing_ok=True)
                milvus_lite().release_server(str(path))

    stop_when_unused(path, stop, lambda: bool(_num_users.get(path)))


@contextmanager
def connected(config: IndexConfig) -> Iterator[MilvusClient]:
    """Yields a Milvus client; inside the block, errors of Milvus are raised as IndexUnavailable."""
    with milvus_address(config, is_waited_for=True) as address:
        try:
            client = MilvusClient(uri=address, **_client_options(config))
            try:
                yield client
            finally:
                client.close()
        except ERRORS as e:
            raise unavailable(config, e) from e


def async_client(config: IndexConfig, address: str) -> AsyncMilvusClient:
    """Returns an asynchronous client, to be used on the running event loop only."""
    return AsyncMilvusClient(uri=address, **_client_options(config))


def unavailable(config: IndexConfig, error: Exception) -> IndexUnavailable:
    """Returns an error of Milvus as IndexUnavailable, with the address and what to check."""
    text = " ".join(str(error).split())[:300].replace(config.uri, str(config.address))
    token = "" if config.address.database else f", and that its token is right ({_where_token_is(config)})"
    return IndexUnavailable(f"index.uri: Milvus at {config.address}: {text}; check that it runs there{token}")


def _where_token_is(config: IndexConfig) -> str:
    if secret(TOKEN):
        return "that of MILVUS_TOKEN is used"
    return "that of index.uri is used" if config.address.token else "MILVUS_TOKEN is not set"


def _client_options(config: IndexConfig) -> dict[str, Any]:
    """Returns the options of every client.

    Raises:
        IndexUnavailable: MILVUS_TOKEN holds Milvus's default password, or what cannot be a token.
    """
    token = secret(TOKEN).strip() or config.address.token
    if not (token.isascii() and token.isprintable()):
        raise IndexUnavailable(
            "MILVUS_TOKEN: holds characters other than printable ASCII, such as a line end; set it again"
        )
    if token == DEFAULT_TOKEN:
        raise IndexUnavailable(
            "MILVUS_TOKEN: holds Milvus's default password, which is public; change it on the server (pymilvus:"
            " client.update_password) and set MILVUS_TOKEN=user:password"
        )
    trusted = {} if config.ca_file is None else {"server_pem_path": config.ca_file}
    return {"token": token, "db_name": config.address.db_name, "timeout": config.timeout_s} | trusted


def _check_reachable(address: MilvusAddress, timeout_s: float) -> None:
    """Opens a TCP connection, so that a wrong address fails at once; pymilvus itself would retry for minutes."""
    try:
        socket.create_connection((address.host, address.port), timeout=timeout_s).close()
    except (OSError, OverflowError, UnicodeError) as e:
        raise IndexUnavailable(f"index.uri: no Milvus at {address} ({e}); start it, or set index.uri") from e


def _owner_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.owner.json")


def _owner_address(path: Path) -> str | None:
    """Returns the address at which the owner of the .db serves it; None if no owner answers."""
    try:
        owner = json.loads(_owner_file(path).read_text())
        if not _is_owner(path, owner):
            return None
        socket.create_connection(("127.0.0.1", owner["port"]), timeout=1).close()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return f"http://127.0.0.1:{owner['port']}"


def _is_owner(path: Path, owner: dict[str, Any]) -> bool:
    """Whether the process that wrote the file for this .db still runs, and is the one that listens on the port."""
    try:
        process = psutil.Process(owner["pid"])
        listening = {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        return (
            owner["path"] == str(path.resolve())
            and is_process_alive(owner["pid"], owner["started"])
            and owner["port"] in listening
        )
    except psutil.Error:  # there is no such process, or it is another user's
        return False


def _owner_of(path: Path, address: str) -> dict[str, Any]:
    """What this process writes of itself as the owner of a .db."""
    pid = os.getpid()
    return {
        "pid": pid,
        "started": process_start(pid),
        "path": str(path.resolve()),
        "port": int(address.rsplit(":", 1)[1]),
    }


def _served(path: Path) -> tuple[str, bool]:
    """The address at which a .db is served, and whether by this process; then `_end_use` is to be called.

    Raises:
        IndexUnavailable: The .db cannot be opened.
    """
    deadline = time.monotonic() + OWNER_WAIT_S
    while time.monotonic() < deadline:
        with _owning:
            if path not in _num_users and (address := _owner_address(path)) is not None:
                return address, False
            with _quiet():
                opened: str | None = milvus_lite().start_and_get_uri(str(path))
            if opened is not None:
                aside = _owner_file(path).with_suffix(f".{os.getpid()}.partial")
                aside.write_text(json_text(_owner_of(path, opened)))
                aside.replace(_owner_file(path))
                _num_users[path] = _num_users.get(path, 0) + 1
                return opened, True
        time.sleep(0.1)
    raise IndexUnavailable(f"index.uri: {path} cannot be opened: another process holds it, or it is damaged")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Milvus Lite, which logs a traceback if the .db is locked although another process may well own it."""
    logger = logging.getLogger("milvus_lite.server_manager")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    with suppress(OSError):
        try:
            yield
        finally:
            logger.setLevel(before)
