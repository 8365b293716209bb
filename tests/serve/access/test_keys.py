"""Keys are made once, recognised by their hash alone, and refused when they are wrong, expired or revoked."""

import hmac
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data.artifacts.errors import ConfigError
from serve.access import keys
from serve.access.config import AuthConfig, AuthKind, KeyConfig
from serve.access.key_file import KeyFile, KeyFileError, read_records, require_keys
from serve.access.keys import KeyRing, mint
from serve.access.scopes import Scope

BOTH = KeyConfig(scopes=[Scope.recommend, Scope.events])


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile.of(str(tmp_path / "below" / "keys.json"))


def test_a_key_finds_its_caller_and_no_other_text_does() -> None:
    (key, record), (other, another) = mint("shop", BOTH), mint("app", KeyConfig())
    ring = KeyRing([record, another])
    found = ring.find(key)
    assert found is not None
    assert (found.name, found.scopes) == ("shop", {Scope.recommend, Scope.events})
    mixed = f"{'_'.join(key.split('_')[:2])}_{other.split('_', 2)[2]}"
    for wrong in ("", "ttr", "ttr_", f"{key}x", key[:-1], key.upper(), mixed, f"ttr_{record.id}_", "x" * 10_000, "ü"):
        assert ring.find(wrong) is None, wrong


def test_the_record_does_not_hold_the_key() -> None:
    key, record = mint("shop", BOTH)
    secret = key.split("_", 2)[2]
    assert len(secret) >= 43, "256 bits"
    assert secret not in json.dumps(record.as_json())


def test_a_key_expires() -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3)
    config = KeyConfig(expires_days=2)
    (gone, old), (fresh, new) = mint("old", config, long_ago), mint("new", config)
    ring = KeyRing([old, new])
    assert ring.find(gone) is None
    assert ring.find(fresh) is not None


def test_a_key_expires_within_a_time_that_dates_can_hold() -> None:
    assert mint("shop", KeyConfig(expires_days=36_500))[1].expires_at is not None
    with pytest.raises(ConfigError, match=r"key\.expires_days: 1000000000.0 must lie in"):
        KeyConfig(expires_days=1e9)


def test_every_key_is_compared_once_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one whose id does not exist: the time of a refusal does not say which ids do."""
    key, record = mint("shop", BOTH)
    compared = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return hmac_compare(a, b)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    for text in (key, key[:-1] + "?", "ttr_000000000000_" + "x" * 43, "nonsense"):
        KeyRing([record]).find(text)
    assert compared == [(32, 32)] * 4


def test_keys_are_added_and_removed(file: KeyFile) -> None:
    key = file.add("shop", BOTH)
    file.add("app", KeyConfig())
    with pytest.raises(ConfigError, match="mint: 'shop' is the name of a key already"):
        file.add("shop", KeyConfig())
    assert key.split("_", 2)[2] not in Path(str(file)).read_text()
    assert stat.S_IMODE(Path(str(file)).stat().st_mode) == 0o600
    file.remove("shop")
    assert [record.name for record in file.read()] == ["app"]
    with pytest.raises(ConfigError, match=r"revoke: 'shop' is the name of no key .* \(there are: app\)"):
        file.remove("shop")
    with pytest.raises(ConfigError, match="mint: 'a b' must be up to 64 letters"):
        file.add("a b", KeyConfig())


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"keys": [{}]}',
        '{"keys": [{"id": "a", "name": "b", "sha256": "00", "scopes": [], "created_at": "x"}]}',
        '{"keys": [{"id": "a", "name": "b", "sha256": "%s", "scopes": ["root"], "created_at": "x"}]}' % ("0" * 64),
        b'{"keys": "\xff"}',
        "[" * 100_000,
    ],
)
def test_a_file_that_is_none_is_named(file: KeyFile, content: str | bytes) -> None:
    file.folder.create().write_bytes(file.name, content.encode() if isinstance(content, str) else content)
    for use in (file.read, lambda: file.add("shop", BOTH), lambda: file.remove("shop")):
        with pytest.raises(KeyFileError, match=r"keys\.json: not a file of keys") as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("id", "name", "sha256", "created_at") for value in (None, 5, ["a"])),
        *((name, value) for name in ("expires_at", "rate") for value in (5, ["a"])),
        *(("scopes", value) for value in (None, "recommend", {"recommend": 1}, [["recommend"]])),
        *(("concurrency", value) for value in (0, 1.5, True, "5")),
        ("rate", "0/second"),
    ],
)
def test_a_record_with_a_value_of_another_kind_is_named(file: KeyFile, name: str, value: object) -> None:
    file.add("shop", BOTH)
    content = file.folder.read_json(file.name)
    content["keys"][0][name] = value
    file.folder.write_json(file.name, content)
    with pytest.raises(KeyFileError, match=r"keys\.json: not a file of keys \(.* is not the record of a key"):
        KeyRing(file.read())


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """As where a folder lies in its place, or a file in that of a folder above it."""
    (tmp_path / "keys.json").mkdir()
    (tmp_path / "file").write_text("")
    for location in (tmp_path / "keys.json", tmp_path / "file" / "keys.json"):
        file = KeyFile.of(str(location))
        with pytest.raises(KeyFileError, match=r"auth\.file: .*keys\.json (cannot be read|does not exist)"):
            require_keys(AuthConfig(kind=AuthKind.keys, file=str(location)))
        with pytest.raises(KeyFileError, match=r"auth\.file: .*keys\.json cannot be "):
            file.add("shop", BOTH)


def test_fields_of_a_later_version_are_ignored_and_stay(file: KeyFile) -> None:
    key = file.add("shop", BOTH)
    content = file.folder.read_json(file.name)
    content["keys"][0]["networks"] = ["10.0.0.0/8"]
    file.folder.write_json(file.name, content)
    assert KeyRing(file.read()).find(key) is not None
    file.add("app", KeyConfig())
    shop, app = file.folder.read_json(file.name)["keys"]
    assert (shop["networks"], "networks" in app) == (["10.0.0.0/8"], False)


def test_names_are_of_one_key_each(file: KeyFile) -> None:
    file.add("shop", BOTH)
    (record,) = file.read()
    file.update(lambda records: [*records, record])
    with pytest.raises(KeyFileError, match="is the id of two keys"):
        file.read()


def test_the_environment_takes_the_place_of_the_file(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    config = AuthConfig(kind=AuthKind.keys, file=str(file))
    with pytest.raises(KeyFileError, match=r"auth\.file: .*keys\.json does not exist; make a key by .* mint=NAME"):
        require_keys(config)
    file.add("shop", BOTH)
    text = Path(str(file)).read_text()
    file.add("app", KeyConfig())
    assert [record.name for record in read_records(config)] == ["shop", "app"]
    monkeypatch.setenv("API_KEYS", text)
    assert [record.name for record in read_records(config)] == ["shop"]
    monkeypatch.setenv("API_KEYS", "shop")
    with pytest.raises(KeyFileError, match="API_KEYS: not a file of keys") as caught:
        require_keys(config)
    assert "shop" not in str(caught.value)
