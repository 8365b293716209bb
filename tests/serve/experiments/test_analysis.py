"""The analysis of an experiment: hand-worked numbers, and intervals that hold as often as they say."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from data.sources.schema import DataError
from serve.experiments import matching
from serve.experiments.analysis import MIN_USERS, VariantResult, analyse, boundary
from serve.experiments.analysis_table import analysis_table
from serve.experiments.assignment import CONTROL
from serve.experiments.matching import NeededExposures, OutcomeCounts
from serve.experiments.outcomes import MAX_VALUE, read_outcomes

SHARES = {CONTROL: 0.5, "b": 0.5}


def shown(rows: list[tuple[str | None, str, str]]) -> pa.Table:
    users, variants, requests = zip(*rows, strict=True)
    columns = {"user": pa.array(users, pa.string()), "variant": variants, "request_id": requests}
    return pa.table({**columns, "experiment": ["one"] * len(rows)})


def outcomes(values: dict[str, float]) -> pa.Table:
    return pa.table({"request_id": list(values), "value": list(values.values())})


def test_means_are_per_user_and_outcomes_of_a_request_add_up() -> None:
    rows = [("ann", CONTROL, "1"), ("ann", CONTROL, "2"), ("bob", CONTROL, "3"), ("cid", "b", "4"), ("dan", "b", "5")]
    clicks = pa.concat_tables([outcomes({"1": 1.0, "2": 2.0, "4": 4.0}), outcomes({"4": 2.0, "elsewhere": 9.0})])
    found = analyse("one", shown(rows), clicks, SHARES)
    control, trial = found.results
    assert (control.num_users, control.mean) == (2, 1.5)  # ann 3, bob 0
    assert (trial.num_users, trial.mean, trial.lift, trial.relative_lift) == (2, 3.0, 1.5, 1.0)


def test_intervals_are_welchs_and_that_for_any_time() -> None:
    """In each variant, half of the users have an outcome: 1 in control, 3 in the other."""
    rows = [(f"{variant}{n}", variant, f"{variant}{n}") for variant in SHARES for n in range(MIN_USERS)]
    values = {f"{variant}{n}": value for variant, value in ((CONTROL, 1.0), ("b", 3.0)) for n in range(0, MIN_USERS, 2)}
    trial = analyse("one", shown(rows), outcomes(values), SHARES).results[1]
    error = np.sqrt((0.25 + 2.25) / (MIN_USERS - 1))
    assert trial.lift == 1.0
    assert trial.interval == pytest.approx([1.0 - 1.96 * error, 1.0 + 1.96 * error], rel=1e-4)
    radius = boundary(2 * MIN_USERS) * error
    assert trial.anytime_interval == pytest.approx([1.0 - radius, 1.0 + radius])


@pytest.mark.parametrize(("users", "of_control", "of_trial"), [(2, 0.0, 1.0), (2 * MIN_USERS, 0.0, 1.0)])
def test_nothing_may_stop_without_enough_users_and_outcomes_that_differ(
    users: int, of_control: float, of_trial: float
) -> None:
    rows = [(f"{variant}{n}", variant, f"{variant}{n}") for variant in SHARES for n in range(users)]
    values = {f"{v}{n}": of_trial if v == "b" else of_control for v in SHARES for n in range(users)}
    found = analyse("one", shown(rows), outcomes(values), SHARES)
    trial = found.results[1]
    assert (trial.lift, trial.interval, trial.anytime_interval, trial.may_stop) == (1.0, None, None, False)
    assert "an interval needs 100 users" in str(analysis_table(found).caption)


@pytest.mark.parametrize("parts", [(0.1,), (0.1, 0.2)])
def test_nothing_may_stop_because_of_what_is_rounded(parts: tuple[float, ...]) -> None:
    """Every user has the same outcome; that of some is recorded in two parts, which add up to a little more."""
    rows = [(f"{v}{n}", v, f"{v}{n}") for v, number in ((CONTROL, 1000), ("b", 900)) for n in range(number)]
    whole = pa.table({"request_id": [row[2] for row in rows], "value": [round(sum(parts), 1)] * len(rows)})
    in_parts = pa.table({"request_id": ["b0"] * len(parts), "value": list(parts)})
    clicks = pa.concat_tables([whole.filter(pc.not_equal(whole["request_id"], "b0")), in_parts])
    trial = analyse("one", shown(rows), clicks, SHARES).results[1]
    assert (trial.interval, trial.anytime_interval, trial.may_stop) == (None, None, False)
    assert abs(trial.lift or 0) < 1e-12


def test_a_small_variant_without_any_of_the_rare_outcomes_may_not_stop() -> None:
    """Nothing differs: of all users one in a hundred buys. Of 100 users nobody does in a third of the experiments."""
    random, shares = np.random.default_rng(0), {CONTROL: 0.95, "b": 0.05}
    rows = [(f"{v}{n}", v, f"{v}{n}") for v, number in ((CONTROL, 1900), ("b", 100)) for n in range(number)]
    exposures, found = shown(rows), []
    for _ in range(30):
        bought = {row[2]: 1.0 for row in rows if random.random() < 0.01}
        found.append(analyse("one", exposures, outcomes(bought), shares).results[1])
    assert sum(trial.mean == 0 for trial in found) > 5
    assert sum(trial.may_stop for trial in found) <= 1
    excluded = [
        trial for trial in found if trial.interval is not None and not trial.interval[0] <= 0 <= trial.interval[1]
    ]
    assert len(excluded) <= 3
    bought = {f"{v}{n}": 1.0 for v, number in ((CONTROL, 19), ("b", 30)) for n in range(number)}
    assert analyse("one", exposures, outcomes(bought), shares).results[1].may_stop, "30 % in place of 1 %"


def test_a_variant_that_nobody_was_shown_has_no_lift() -> None:
    rows = [(f"c{n}", CONTROL, f"c{n}") for n in range(5)]
    for variants, shares in ((rows, {CONTROL: 0.95, "b": 0.05}), ([("a", "b", "c0")], SHARES)):
        found = analyse("one", shown(variants), outcomes({"c0": 2.0}), shares)
        assert [(result.lift, result.relative_lift) for result in found.results] == [(None, None)] * 2
        assert None in [result.mean for result in found.results]
        assert analysis_table(found).row_count == 2


@pytest.mark.parametrize("largest", [1e100, 1e200, 1e-200])
def test_outcomes_of_any_size_give_finite_numbers(largest: float) -> None:
    """The deviation of the second is beyond float64, that of the third is 0 in it."""
    rows = [(f"{variant}{n}", variant, f"{variant}{n}") for variant in SHARES for n in range(2 * MIN_USERS)]
    values = {f"{v}{n}": largest * n for v in SHARES for n in range(2 * MIN_USERS)} | {"b1": 3 * largest}
    found = analyse("one", shown(rows), outcomes(values), SHARES)
    trial = found.results[1]
    intervals = [*(trial.interval or []), *(trial.anytime_interval or [])]
    assert np.isfinite([trial.mean, trial.lift, trial.relative_lift, *intervals]).all()
    assert len(intervals) == (4 if largest == MAX_VALUE else 0)
    assert not trial.may_stop


def test_a_lift_over_next_to_nothing_has_no_ratio() -> None:
    found = analyse(
        "one", shown([("ann", CONTROL, "1"), ("bob", "b", "2")]), outcomes({"1": 1e-300, "2": 1e50}), SHARES
    )
    assert (found.results[1].lift, found.results[1].relative_lift) == (1e50, None)


def test_a_variant_without_a_share_is_shown_and_named() -> None:
    rows = [("ann", CONTROL, "1"), ("bob", "b", "2"), ("cid", "c", "3")]
    found = analyse("one", shown(rows), outcomes({"3": 2.0}), SHARES)
    assert [(result.variant, result.num_users, result.mean) for result in found.results] == [
        (CONTROL, 1, 0.0), ("b", 1, 0.0), ("c", 1, 2.0),
    ]  # fmt: skip
    assert not found.sample_ratio_holds
    assert "c answered users but has no share" in str(analysis_table(found).caption)


def test_every_row_of_outcomes_is_accounted_for() -> None:
    """Request 2 was answered to two users, for both of whom its outcome would count."""
    rows = [("ann", CONTROL, "1"), ("bob", "b", "2"), ("cid", CONTROL, "2")]
    clicks = pa.concat_tables([outcomes({"1": 1.0, "2": 1.0, "gone": 1.0}), outcomes({"1": 1.0, "lost": 1.0})])
    found = analyse("one", shown(rows), clicks, SHARES)
    assert [result.mean * result.num_users for result in found.results] == [2.0, 0.0]
    assert found.outcomes == OutcomeCounts(5, 2, 0, 2, 1, {"unmatched": "gone", "ambiguous": "2"})
    caption = str(analysis_table(found).caption)
    assert (
        "2 of 5 outcomes are of its requests, 2 of no request of this run, first 'gone', 1 of a request id" in caption
    )


def test_nobody_is_a_unit_of_its_own_and_who_moved_is_left_out() -> None:
    rows = [(None, CONTROL, "1"), (None, "b", "2"), ("eve", CONTROL, "3"), ("eve", "b", "4"), ("ann", "b", "5")]
    found = analyse("one", shown(rows), outcomes({"3": 100.0}), SHARES)
    assert [result.num_users for result in found.results] == [1, 2]
    assert (found.users_in_several_variants, found.results[0].mean) == (1, 0.0)


def test_outcomes_of_who_moved_are_counted_apart() -> None:
    rows = [("eve", CONTROL, "3"), ("eve", "b", "4"), ("ann", "b", "5"), ("bob", CONTROL, "6"), ("eve", "b", "6")]
    found = analyse("one", shown(rows), outcomes({"3": 1.0, "4": 1.0, "5": 2.0, "6": 1.0, "gone": 1.0}), SHARES)
    assert found.outcomes == OutcomeCounts(5, 1, 2, 1, 1, {"moved": "3", "unmatched": "gone", "ambiguous": "6"})
    counted = found.as_json()
    parts = [counted[f"outcomes_{part}"] for part in ("met", "moved", "unmatched", "ambiguous")]
    assert (counted["outcomes"], parts) == (5, [1, 2, 1, 1])
    assert "2 of users in several variants, first '3'" in str(analysis_table(found).caption)


def test_a_request_that_was_recorded_twice_counts_once() -> None:
    rows = [("ann", CONTROL, "1"), ("ann", CONTROL, "1"), ("bob", "b", "2")]
    assert analyse("one", shown(rows), outcomes({"1": 1.0}), SHARES).results[0].mean == 1.0


@pytest.mark.parametrize("part", [1, 30, 10_000])
def test_what_is_needed_of_exposures_gives_the_same_analysis(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of users in both variants, nobodies, requests recorded twice, and ids that several users' answers have."""
    monkeypatch.setattr(matching, "PART", part)
    random = np.random.default_rng(0)
    users = [None if n % 5 == 0 else f"u{n}" for n in random.integers(0, 100, 600)]
    variants = [CONTROL if n else "b" for n in random.integers(0, 2, 600)]
    rows = [(u, v if u and int(u[1:]) % 7 == 0 else "b" if u and int(u[1:]) % 2 else CONTROL, f"r{n}")
            for u, v, n in zip(users, variants, random.integers(0, 500, 600), strict=True)]  # fmt: skip
    exposures, clicks = shown(rows), outcomes({f"r{n}": float(n % 3) for n in range(0, 600, 4)})
    needed = NeededExposures(clicks["request_id"])
    for start in range(0, 600, 50):
        needed = needed.with_groups([exposures.slice(start, 20), exposures.slice(start + 20, 30)])
    rows_needed = needed.reduced().rows
    found, whole = (analyse("one", rows, clicks, SHARES) for rows in (rows_needed, exposures))
    assert (found.outcomes, found.users_in_several_variants) == (whole.outcomes, whole.users_in_several_variants)
    assert min(whole.outcomes.moved, whole.outcomes.unmatched, whole.outcomes.ambiguous) > 0
    for one, other in zip(found.results, whole.results, strict=True):
        assert (one.num_users, one.mean) == (other.num_users, pytest.approx(other.mean))
    assert len(rows_needed) < 450


def test_shares_that_are_not_those_asked_for_are_said_first() -> None:
    rows = [(f"c{n}", CONTROL, f"c{n}") for n in range(600)] + [(f"b{n}", "b", f"b{n}") for n in range(400)]
    found = analyse("one", shown(rows), outcomes({"b1": 1.0}), SHARES)
    assert not found.sample_ratio_holds
    assert "SHARES ARE NOT THOSE ASKED FOR" in str(analysis_table(found).caption)
    even = analyse("one", shown(rows), outcomes({"b1": 1.0}), {CONTROL: 0.6, "b": 0.4})
    assert even.sample_ratio_holds


def test_a_few_users_of_a_small_share_are_no_wrong_assignment() -> None:
    """One user of 2000 is promised; in one of 53 such experiments there are four or more."""
    shares = {CONTROL: 0.9995, "b": 0.0005}

    def p(num: int) -> float:
        rows = [(f"c{n}", CONTROL, f"c{n}") for n in range(2000 - num)] + [(f"b{n}", "b", f"b{n}") for n in range(num)]
        return analyse("one", shown(rows), outcomes({"c1": 1.0}), shares).sample_ratio_p

    assert p(1) == pytest.approx(1.0)
    assert p(4) == pytest.approx(1 - sum(np.exp(-1) / factorial for factorial in (1, 1, 2, 6)), rel=0.01)
    assert p(5) > 0.001 > p(7)


def test_a_stop_needs_the_interval_for_any_time() -> None:
    assert not VariantResult("b", 9, 1.0, 1.0, 1.0, [0.1, 1.9], [-0.1, 2.1]).may_stop
    assert VariantResult("b", 9, 1.0, 1.0, 1.0, [0.5, 1.5], [0.1, 1.9]).may_stop


def test_whoever_looks_again_and_again_is_seldom_wrong() -> None:
    """Under no difference: of 400 experiments looked at 50 times each, few ever leave the interval for any time; many
    leave the one for a fixed time."""
    random = np.random.default_rng(0)
    looks = np.unique(np.geomspace(100, 20_000, 50).astype(int))
    value = random.exponential(1.0, (400, 2, looks[-1]))
    sums, squares = value.cumsum(-1)[..., looks - 1], (value**2).cumsum(-1)[..., looks - 1]
    variance = squares / looks - (sums / looks) ** 2
    z = np.abs(sums[:, 1] - sums[:, 0]) / looks / np.sqrt(variance.sum(1) / looks)
    bounds = np.array([boundary(2 * int(n)) for n in looks])
    assert (z > bounds).any(1).mean() <= 0.05
    assert (z > 1.96).any(1).mean() > 0.15


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"outcomes: .*nowhere\.parquet"):
        read_outcomes(str(tmp_path / "nowhere.parquet"))
    pq.write_table(pa.table({"request_id": ["1"]}), tmp_path / "half.parquet")
    with pytest.raises(
        DataError, match=r"half\.parquet: no column 'value'; there are 'request_id': rename it for outcomes"
    ):
        read_outcomes(str(tmp_path / "half.parquet"))
