"""Each caller asks as often as its key allows, by counters in memory or in Redis, and not more."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from data.artifacts.errors import ConfigError
from serve.access import limits as limits_module
from serve.access.config import KeyConfig, LimitsConfig
from serve.access.control import AccessControl, Refused
from serve.access.keys import Caller, KeyRing, mint
from serve.access.limits import CallLimits, Exceeded
from serve.access.scopes import Scope
from serve.events.config import EventsConfig
from tests.benchmarks.harness.servers import free_port
from tests.conformance.events import TYPES
from tests.conformance.redis_server import serving_redis

SHOP = Caller("shop", frozenset({Scope.recommend}), rate="5/minute", concurrency=2)
OTHER = Caller("other", frozenset({Scope.recommend}))
RECOMMEND = frozenset({Scope.recommend})


async def admitted(limits: CallLimits, caller: Caller, calls: int, cost: int = 1) -> int:
    """How many of so many calls are within the rate."""
    passed = 0
    for _ in range(calls):
        try:
            await limits.charge(caller, cost)
            passed += 1
        except Exceeded as e:
            assert 1 <= e.retry_after_s <= 60
            assert "key shop: " in str(e)
    return passed


async def test_each_caller_has_a_rate_of_its_own() -> None:
    limits = CallLimits(LimitsConfig())
    assert await admitted(limits, SHOP, 8) == 5
    assert await admitted(limits, OTHER, 100) == 100, "no limit"
    by_default = CallLimits(LimitsConfig(rate="3/minute"))
    assert await admitted(by_default, SHOP, 8) == 5, "the key's own counts"
    with pytest.raises(Exceeded):
        await admitted(by_default, Caller("shop", RECOMMEND), 4)
        await by_default.charge(Caller("shop", RECOMMEND))


async def test_a_batch_counts_as_many_as_it_asks_for() -> None:
    limits = CallLimits(LimitsConfig())
    assert await admitted(limits, SHOP, 3, cost=2) == 2
    assert await admitted(limits, SHOP, 3) == 1
    with pytest.raises(Exceeded, match="6 recommendations in one call, at most 5/minute"):
        await limits.charge(SHOP, 6)


async def test_a_batch_that_waits_as_long_as_it_is_told_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told to wait for one recommendation, counted one at each try, and was refused for half an hour."""
    now, admitted_in_all = [1e9], 0
    monkeypatch.setattr("time.time", lambda: now[0])
    limits, app = CallLimits(LimitsConfig()), Caller("app", RECOMMEND, rate="60/minute")
    while now[0] < 1e9 + 600:
        try:
            await limits.charge(app)  # with the call itself
            await limits.charge(app, 9, counted=1)
            admitted_in_all, now[0] = admitted_in_all + 10, now[0] + 0.1
        except Exceeded as e:
            assert e.retry_after_s is not None
            now[0] += e.retry_after_s
    assert admitted_in_all >= 400, "of some 600"


def test_calls_at_the_same_time() -> None:
    limits = CallLimits(LimitsConfig(concurrency=1))
    limits.enter(SHOP)
    limits.enter(SHOP)
    limits.enter(OTHER)
    for caller in (SHOP, OTHER):
        with pytest.raises(Exceeded, match="at the same time"):
            limits.enter(caller)
    limits.leave(SHOP)
    limits.enter(SHOP)
    for caller in (SHOP, SHOP, OTHER):
        limits.leave(caller)
    assert not limits._running


async def test_a_refusal_is_429_with_the_time_to_wait_and_ends_the_call() -> None:
    key, record = mint("shop", KeyConfig(rate="2/minute", concurrency=1))

    class Known:
        find = KeyRing([record]).find

        async def refresh(self) -> None: ...

    control = AccessControl(Known())
    for _ in range(2):
        async with control.admitted(key, RECOMMEND):
            with pytest.raises(Refused, match="1 calls at the same time"):
                async with control.admitted(key, RECOMMEND):
                    pass
    with pytest.raises(Refused, match="key shop: more than 2/minute; wait") as refused:
        async with control.admitted(key, RECOMMEND):
            pass
    assert (refused.value.status, 1 <= (refused.value.retry_after_s or 0) <= 60) == (429, True)
    assert control.take_calls() == {("shop", "admitted"): 2, ("shop", "limited"): 3}
    assert not control._limits._running


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": "often"}, r"auth\.limits\.rate: 'often' must be like 100/second"),
        ({"concurrency": 0}, r"auth\.limits\.concurrency: 0 must be at least 1"),
        ({"counters": "mongodb://x"}, r"auth\.limits\.counters: mongodb://\.\.\. must be memory:// or redis://"),
        ({"counters": "redis://:secret@x"}, r"auth\.limits\.counters: redis://\.\.\. must be .* REDIS_PASSWORD"),
        ({"counters": "redis://x?password=p"}, r"auth\.limits\.counters: redis://\.\.\. must be .* REDIS_PASSWORD"),
    ],
)
def test_wrong_limits_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LimitsConfig(**values)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"key\.rate: 'x' must be like"):
        KeyConfig(rate="x")


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a real Redis."""
    monkeypatch.setenv("REDIS_PASSWORD", "pw")
    with serving_redis(tmp_path) as address:
        Redis.from_url(address).config_set("requirepass", "pw")
        yield address


async def test_redis_counts_for_all_replicas(redis: str) -> None:
    config = LimitsConfig(counters=redis, timeout_ms=5000)
    replicas = [CallLimits(config), CallLimits(config)]
    assert sum([await admitted(replica, SHOP, 4) for replica in replicas]) == 5
    assert all(replica._paused_until == 0 for replica in replicas), "Redis has counted"


async def test_without_redis_each_replica_counts_for_itself(redis: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it hangs: a request waits for it once in a while, and never longer than the limit."""
    asked = []
    limits = CallLimits(LimitsConfig(counters=redis, timeout_ms=50))
    assert limits._shared is not None

    async def hanging(*_: object, **__: object) -> bool:
        asked.append(1)
        await asyncio.sleep(60)
        return True

    monkeypatch.setattr(limits._shared, "hit", hanging)
    assert await admitted(limits, SHOP, 8) == 5
    assert len(asked) == 1
    gone = CallLimits(LimitsConfig(counters=f"redis://127.0.0.1:{free_port()}", timeout_ms=5000))
    assert await admitted(gone, SHOP, 8) == 5
    monkeypatch.setattr(limits_module, "PAUSE_S", 0)
    assert await admitted(gone, SHOP, 8) == 0


@pytest.mark.parametrize(
    "rate",
    [
        "0/second",
        "100/second;5/minute",
        "100/second, 5/minute",
        "100/0 second",
        "1/0second",
        "5 per 00 minute",
        "-5/second",
        "1/99999999999 year",
        "9" * 20 + "/second",
        "1/" + "0" * 5000 + " second",
        "",
    ],
)
def test_what_is_not_one_rate_above_0_is_refused(rate: str) -> None:
    for config, key in ((LimitsConfig, "auth.limits.rate"), (KeyConfig, "key.rate")):
        with pytest.raises(ConfigError, match=rf"{key}: '.*' must be like 100/second or 5000/minute"):
            config(rate=rate)


@pytest.mark.parametrize("rate", ["100/second", "5 per 2 minutes", " 1 / MINUTE ", "1/10second"])
def test_one_rate_is_taken(rate: str) -> None:
    assert LimitsConfig(rate=rate).rate == KeyConfig(rate=rate).rate == rate


async def test_a_batch_beyond_the_rate_is_not_told_to_wait() -> None:
    """Nor where it is beyond it by the one that is counted with the call."""
    key, record = mint("shop", KeyConfig(rate="63/minute"))

    class Known:
        find = KeyRing([record]).find

        async def refresh(self) -> None: ...

    control = AccessControl(Known())
    with pytest.raises(Refused, match="key shop: 64 recommendations in one call, at most 63/minute") as refused:
        async with control.admitted(key, RECOMMEND):
            await control.charge(63, counted=1)
    assert (refused.value.status, refused.value.retry_after_s) == (429, None)
    async with control.admitted(key, RECOMMEND):
        await control.charge(61, counted=1)
    with pytest.raises(Refused, match="more than 63/minute; wait"):
        async with control.admitted(key, RECOMMEND):
            pass


WRONG_ADDRESSES = [
    "redis://h:abc", "redis://h:99999999", "redis://h:0", "redis://", "redis://h:6379/abc", "redis://h?db=x", "redis://h?timeuot=1",
    "redis://[::1", "redis://a b", "redis://h#1",
]  # fmt: skip


@pytest.mark.parametrize("address", WRONG_ADDRESSES)
def test_addresses_of_redis_are_read_before_anything_starts(address: str) -> None:
    with pytest.raises(ConfigError, match=r"auth\.limits\.counters: 'redis://.*' must be redis://host:6379/0"):
        LimitsConfig(counters=address)
    with pytest.raises(ConfigError, match=r"events\.uri: 'redis://.*' must be redis://host:6379/0"):
        EventsConfig(store="redis", uri=address, types=TYPES)
    assert EventsConfig(store="sqlite", uri=address, types=TYPES).uri == address, "it is not used"


@pytest.mark.parametrize(
    "address", ["redis://h", "redis://h:6379/3", "rediss://[::1]:6380", "redis://h?socket_timeout=1"]
)
def test_other_addresses_are_taken(address: str) -> None:
    assert LimitsConfig(counters=address).counters == address
    assert EventsConfig(store="redis", uri=address, types=TYPES).uri == address


def test_no_password_of_an_address_is_shown() -> None:
    for address in ("redis://:se/cret@h", "redis://u:se#cret@h", "redis://u:secret@h:abc"):
        with pytest.raises(ConfigError, match=r"events\.uri") as caught:
            EventsConfig(store="redis", uri=address, types=TYPES)
        assert "cret" not in str(caught.value)
