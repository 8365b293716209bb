"""What an experiment has brought: `python -m serve.lift traffic.name=homepage outcomes=clicks.parquet`.

Exposures are joined with outcomes: a Parquet file with `request_id` and `value` (a click, an amount; several of a
request add up). The unit is the user, who is always in one variant; a request of nobody is a unit of its own. Of each
variant: the mean outcome per user, and its lift over control.

Three things keep such a number honest. The sample-ratio check: do the variants have the users that their shares promise
(chi-square)? If not, nothing else counts. The interval at a time fixed beforehand (Welch). And a confidence sequence
(Waudby-Smith et al. 2021, "Time-uniform central limit theory", theorem 2.2), which holds however often one looks: as
soon as it excludes 0 one may stop.

Shape legend: U users.
"""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.table import Table
from scipy import stats

from data.artifacts.folders import Folder
from data.sources.schema import DataError
from serve.experiments.assignment import CONTROL
from serve.experiments.exposures import SCHEMA, exposures

LEVEL = 0.95

MIN_RATIO_P = 0.001
"""Below this p the shares of users are not those that were asked for."""

EXPECTED_USERS = 10_000
"""Users at which the confidence sequence is tightest."""


@dataclass(frozen=True, slots=True)
class Lift:
    """A variant against control; nulls for control itself.

    Attributes:
        users: exposed.
        mean: outcome per user.
        lift: difference of the means; `relative` as a share of control's.
        interval: of the lift, at 95 %, if this is the one time that one looks.
        anytime: of the lift, at 95 %, whenever one looks.
    """

    variant: str
    users: int
    mean: float
    lift: float | None = None
    relative: float | None = None
    interval: list[float] | None = None
    anytime: list[float] | None = None

    @property
    def may_stop(self) -> bool:
        """Whatever comes, the difference is there."""
        return self.anytime is not None and (self.anytime[0] > 0 or self.anytime[1] < 0)


@dataclass(frozen=True, slots=True)
class Analysis:
    """An experiment so far.

    Attributes:
        ratio_p: of the sample-ratio check.
        moved: users who were seen in more than one variant, and are left out.
    """

    experiment: str
    lifts: list[Lift]
    ratio_p: float
    moved: int

    @property
    def ratio_holds(self) -> bool:
        return self.ratio_p >= MIN_RATIO_P


def analyse(shown: pa.Table, outcomes: pa.Table, shares: dict[str, float]) -> Analysis:
    """Exposures (`serve.experiments.exposures.SCHEMA`) joined with outcomes (request_id, value).

    Args:
        shares: of the users by variant, control's too.
    """
    values = outcomes.group_by("request_id").aggregate([("value", "sum")])
    unit = pc.coalesce(shown["user"], shown["request_id"])
    joined = pa.table({"unit": unit, "variant": shown["variant"], "request_id": shown["request_id"]})
    joined = joined.group_by(["unit", "variant", "request_id"]).aggregate([])
    joined = joined.join(values, "request_id", join_type="left outer")
    value = pc.fill_null(joined["value_sum"].cast(pa.float64()), 0.0)
    units = pa.table({"unit": joined["unit"], "variant": joined["variant"], "value": value})
    units = units.group_by(["unit", "variant"]).aggregate([("value", "sum")])
    times = units.group_by("unit").aggregate([([], "count_all")])
    moved = times.filter(pc.greater(times["count_all"], 1))["unit"]
    units = units.filter(pc.invert(pc.is_in(units["unit"], moved.combine_chunks())))
    by_variant = {
        variant: units.filter(pc.equal(units["variant"], variant))["value_sum"].to_numpy() for variant in shares
    }
    control_U = by_variant[CONTROL]
    lifts = [
        Lift(CONTROL, len(control_U), _mean(control_U)),
        *(_lift(name, value_U, control_U) for name, value_U in by_variant.items() if name != CONTROL),
    ]
    return Analysis(shown["experiment"][0].as_py(), lifts, _ratio_p([lift.users for lift in lifts], shares), len(moved))


def _lift(variant: str, value_U: np.ndarray, control_U: np.ndarray) -> Lift:
    mean, base = _mean(value_U), _mean(control_U)
    change, relative = mean - base, (mean - base) / base if base else None
    if min(len(value_U), len(control_U)) < 2:
        return Lift(variant, len(value_U), mean, change, relative)
    error = math.sqrt(value_U.var(ddof=1) / len(value_U) + control_U.var(ddof=1) / len(control_U))
    fixed = float(stats.norm.ppf((1 + LEVEL) / 2)) * error
    users = len(value_U) + len(control_U)
    always = error * boundary(users)
    intervals = [[change - radius, change + radius] for radius in (fixed, always)]
    return Lift(variant, len(value_U), mean, change, relative, *intervals)


def boundary(users: int, level: float = LEVEL, tightest: int = EXPECTED_USERS) -> float:
    """Standard errors to either side that hold for all sample sizes at once (the mixture boundary of the paper).

    sqrt((n r + 1) / (n r) * log((n r + 1) / a^2)) with r = rho^2, chosen to be narrowest near `tightest` users (their
    eq. 10: rho^2 = (-2 log a + log(-2 log a + 1)) / n).
    """
    alpha = 1 - level
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tightest
    scaled = users * rho2
    return math.sqrt((scaled + 1) / scaled * math.log((scaled + 1) / alpha**2))


def _ratio_p(users: list[int], shares: dict[str, float]) -> float:
    """Of the numbers of users being those of the shares."""
    expected = np.array([shares[CONTROL], *(share for name, share in shares.items() if name != CONTROL)]) * sum(users)
    return float(stats.chisquare(users, expected).pvalue) if sum(users) else 1.0


def _mean(value_U: np.ndarray) -> float:
    return float(value_U.mean()) if len(value_U) else 0.0


def table(found: Analysis) -> Table:
    """For people."""
    verdict = "shares as asked for" if found.ratio_holds else "SHARES ARE NOT THOSE ASKED FOR: look for the cause first"
    caption = f"{verdict} (p {found.ratio_p:.3g}); {found.moved} users in more than one variant left out"
    shown = Table(title=f"experiment {found.experiment}", caption=caption, caption_justify="left")
    for column in ("variant", "users", "per user", "lift", "95 % at a fixed time", "95 % at any time", ""):
        shown.add_column(column, justify="left" if column in ("variant", "") else "right")
    for lift in found.lifts:
        relative = "" if lift.relative is None else f" ({lift.relative:+.1%})"
        change = "" if lift.lift is None else f"{lift.lift:+.4g}{relative}"
        verdict = "may stop" if lift.may_stop and found.ratio_holds else ""
        shown.add_row(
            lift.variant,
            f"{lift.users:,}",
            f"{lift.mean:.4g}",
            change,
            _range(lift.interval),
            _range(lift.anytime),
            verdict,
        )
    return shown


def _range(bounds: list[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:+.4g} .. {bounds[1]:+.4g}"


def read_outcomes(path: str) -> pa.Table:
    """Raises DataError where it is no such file, or lacks a column."""
    try:
        found = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as e:
        raise DataError(f"outcomes: {path}: no Parquet file ({e})") from e
    if missing := {"request_id", "value"} - set(found.column_names):
        raise DataError(
            f"outcomes: {path}: has no column {', '.join(sorted(missing))}; request_id and value are wanted"
        )
    return found.select(["request_id", "value"])


def read_exposures(storage: Folder, experiment: str) -> pa.Table:
    """Raises DataError where nothing was shown in such an experiment."""
    folder = exposures(storage, experiment)
    names = [name for name in folder.files() if name.endswith(".parquet")]
    if not names:
        raise DataError(f"traffic.name: {experiment!r}: no exposures in {folder}")
    return pa.concat_tables([folder.read_table(name).cast(SCHEMA) for name in names])
