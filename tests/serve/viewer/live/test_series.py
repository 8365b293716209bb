"""Series of live metrics, by hand-worked readings."""

import math

import pytest

from serve.viewer.live import series
from serve.viewer.live.samples import ANSWERS, FROM, HEALTHY, STAGE_MS, Reading, increases, parsed, quantile

TEXT = """# HELP ray_twotower_requests_total Answers.
# TYPE ray_twotower_requests_total counter
ray_twotower_requests_total{outcome="ok",release_id="a\\"b"} 5
ray_twotower_requests_total{outcome="degraded",release_id="c"} NaN
python_gc_objects_collected_total{generation="0"} 9
"""


def reading(at: float, address: str = "a", **ok: float) -> Reading:
    values = {(ANSWERS, (("outcome", name), (FROM, address))): value for name, value in ok.items()}
    return Reading(at, values, frozenset([address]))


def test_only_what_is_plotted_is_kept() -> None:
    assert parsed(TEXT) == {("ray_twotower_requests_total", (("outcome", "ok"), ("release_id", 'a"b'))): 5.0}
    stage = "\n".join(f'{STAGE_MS}_{name}{{stage="a",le="1"}} 1' for name in ("bucket", "sum", "count"))
    assert [name for name, _ in parsed(stage)] == [f"{STAGE_MS}_sum", f"{STAGE_MS}_count"]
    with pytest.raises(ValueError, match="[Ii]nvalid|could not"):
        parsed('ray_twotower_requests_total{outcome="ok"} five')


def test_a_counter_that_begins_anew_has_grown_from_zero() -> None:
    assert increases(reading(0, ok=10), reading(1, ok=4), ANSWERS, "outcome") == {"ok": 4}
    assert increases(reading(0), reading(1, ok=4), ANSWERS, "outcome") == {"ok": 4}


def test_an_address_that_did_not_answer_before_makes_no_jump() -> None:
    assert increases(reading(0, "a", ok=1), reading(1, "b", ok=1000), ANSWERS, "outcome") == {}


def test_rates_over_the_last_minute() -> None:
    readings = [reading(0, ok=0), reading(30, ok=30), reading(60, ok=90), reading(90, ok=90, degraded=30)]
    found = series.requests_per_second(readings)
    assert found["ok"] == [(30, 1.0), (60, 1.5), (90, 1.0)]  # the last one is from 30 to 90
    assert found["degraded"] == [(30, None), (60, None), (90, 0.5)]
    assert series.degraded_share(readings)["degraded"][-1] == (90, pytest.approx(1 / 3))


def test_nothing_is_known_of_a_gap() -> None:
    readings = [reading(0, ok=0), reading(60, ok=60), reading(14_400, ok=900), reading(14_460, ok=960)]
    assert series.requests_per_second(readings)["ok"] == [(60, 1.0), (14_400, None), (14_460, 1.0)]
    healthy = (HEALTHY, (("deployment", "d"),))
    assert series.replicas([Reading(at, {healthy: 1.0}) for at in (0, 60, 14_400)])["healthy d"] == [
        (0, 1.0), (60, 1.0), (14_400, None), (14_400, 1.0),
    ]  # fmt: skip


def test_no_traffic_has_no_share() -> None:
    assert series.degraded_share([reading(0, ok=5), reading(60, ok=5)])["degraded"] == [(60, None)]
    assert series.requests_per_second([reading(0, ok=5)]) == {}


def test_many_readings_are_thinned_evenly_with_the_latest() -> None:
    assert len(series.thinned([reading(n) for n in range(240)])) == 240
    kept = [one.at for one in series.thinned([reading(n) for n in range(1001)])]
    assert kept[-1] == 1000
    assert len(kept) <= 240
    assert {b - a for a, b in zip(kept[:-1], kept[1:], strict=True)} == {5}


def test_quantiles_as_prometheus_has_them() -> None:
    assert quantile({"1": 10, "2": 30, "+Inf": 40}, 0.5) == 1.5
    assert quantile({"1": 10, "2": 30, "+Inf": 40}, 0.99) == 2.0  # beyond the largest bound
    assert quantile({"1": 0, "+Inf": 0}, 0.5) is None
    assert quantile({}, 0.5) is None
    assert not math.isnan(quantile({"1": 0, "5": 0, "10": 4, "+Inf": 4}, 0.25) or 0)
