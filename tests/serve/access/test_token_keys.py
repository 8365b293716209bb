"""Key sets as others publish them: with keys that cannot be used, and from servers that take their time."""

import http.server
import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from data.artifacts.records.json_files import left_out
from serve.access import token_keys, tokens
from serve.access.token_keys import TokenKeysError, read_token_keys
from tests.serve.access.test_tokens import ELLIPTIC, FIRST, SECOND, authenticator, config_of, public, signed


async def test_a_key_that_cannot_be_used_keeps_out_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left_out.cache_clear()
    of_p256, key_set = public(ELLIPTIC, "e"), tmp_path / "jwks.json"
    key_set.write_text(json.dumps({"keys": [{**of_p256, "kid": "cut", "x": "AA"}, of_p256, {"kty": "EC", "kid": []}]}))
    checks = await authenticator(key_set, algorithm="ES256")
    assert checks.find(signed(ELLIPTIC, "e", "ES256")) is not None
    assert checks.find(signed(ELLIPTIC, "cut", "ES256")) is None
    assert "key 'cut' cannot be used" in caplog.text


def without_id(*keys: Any) -> str:
    members = [{name: value for name, value in public(key, "").items() if name != "kid"} for key in keys]
    return json.dumps({"keys": members})


async def test_of_several_keys_without_an_id_each_counts(tmp_path: Path) -> None:
    """The last one replaced the others."""
    (tmp_path / "jwks.json").write_text(without_id(FIRST, SECOND))
    checks = await authenticator(tmp_path / "jwks.json")
    assert all(checks.find(signed(key, None)) is not None for key in (FIRST, SECOND))
    assert checks.find(signed(rsa.generate_private_key(65537, 2048), None)) is None


async def test_a_key_without_an_id_that_was_exchanged_is_read_within_half_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its signature failed, which is no unknown key: the set was read again after auth.jwt.refresh_s."""
    (tmp_path / "jwks.json").write_text(without_id(FIRST))
    checks = await authenticator(tmp_path / "jwks.json")
    (tmp_path / "jwks.json").write_text(without_id(SECOND))
    assert checks.find(signed(SECOND, None)) is None
    monkeypatch.setattr(tokens, "AGAIN_S", 0.0)
    await checks.refresh()
    assert checks.find(signed(SECOND, None)) is not None


def test_a_key_set_that_trickles_in_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trickling(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # the reader has gone
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.01)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(token_keys, "ANSWERS_WITHIN_S", 0.5)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickling)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(TokenKeysError, match=r"not complete after 0\.5 s"):
            read_token_keys(config_of(f"http://127.0.0.1:{server.server_port}/keys").jwt)
    finally:
        server.shutdown()
        server.server_close()
