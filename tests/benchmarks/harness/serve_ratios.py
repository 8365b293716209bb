"""What bench_serve compares: ratios of endpoints that took turns."""

from tests.benchmarks.harness.overload import Overload
from tests.benchmarks.harness.wrk import Measured

MANY = 32
"""The larger number of clients."""

EVENTLESS = "fused-eventless"
"""The fused endpoint without states of users and without a decision log, as the floor has none."""

OWN = ("haproxy", "own-proxy")
"""The fused endpoint, behind HAProxy and behind Ray Serve's own proxy."""

KEYED = ("haproxy", "keys", "rate")
"""The fused endpoint that asks nobody, and those that ask for keys, by a key without and with a rate."""


def ratios(found: dict[str, dict[int, Measured]], overload: dict[int, Overload]) -> dict[str, float]:
    floor, fused, staged, ordinary = (found[name] for name in ("floor", "fused", "staged", "ordinary"))
    eventless = found[EVENTLESS]
    return {
        "eventless_p50_ratio_1": eventless[1].p50_ms / floor[1].p50_ms,
        "eventless_rps_ratio_32": eventless[MANY].per_s / floor[MANY].per_s,
        "eventless_p99_over_p50_32": eventless[MANY].p99_ms / eventless[MANY].p50_ms,
        "fused_p50_ratio_1": fused[1].p50_ms / floor[1].p50_ms,
        "fused_rps_ratio_32": fused[MANY].per_s / floor[MANY].per_s,
        "fused_p99_over_p50_32": fused[MANY].p99_ms / fused[MANY].p50_ms,
        "staged_p50_ratio_vs_ordinary_1": staged[1].p50_ms / ordinary[1].p50_ms,
        "staged_rps_ratio_vs_ordinary_32": staged[MANY].per_s / ordinary[MANY].per_s,
        **own_ratios(found),
        **flood_ratios(overload),
    }


def own_ratios(found: dict[str, dict[int, Measured]]) -> dict[str, float]:
    """What it costs to do without HAProxy."""
    haproxy, own = (found[name] for name in OWN)
    return {
        "own_proxy_p50_ratio_1": own[1].p50_ms / haproxy[1].p50_ms,
        "own_proxy_p99_ratio_32": own[MANY].p99_ms / haproxy[MANY].p99_ms,
        "own_proxy_rps_ratio_32": own[MANY].per_s / haproxy[MANY].per_s,
    }


def key_ratios(found: dict[str, dict[int, Measured]]) -> dict[str, float]:
    """What it costs to ask for keys, and to count calls."""
    asks_nobody = found["haproxy"]
    return {
        **{f"{name}_p50_ratio_1": found[name][1].p50_ms / asks_nobody[1].p50_ms for name in KEYED[1:]},
        **{f"{name}_rps_ratio_32": found[name][MANY].good_per_s / asks_nobody[MANY].good_per_s for name in KEYED[1:]},
    }


def flood_ratios(overload: dict[int, Overload]) -> dict[str, float]:
    return {
        **{f"overload_goodput_{times}x": of.goodput for times, of in overload.items()},
        **{f"overload_offered_{times}x": of.offered for times, of in overload.items()},
        **{f"overload_goodput_{times}x_min": of.goodput_range[0] for times, of in overload.items()},
        **{f"overload_goodput_{times}x_max": of.goodput_range[1] for times, of in overload.items()},
        **{f"overload_{name}_{times}x": value for times, of in overload.items() for name, value in of.costs.items()},
    }
