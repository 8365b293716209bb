"""Matching: the outcomes of an experiment joined with the exposures of one run, and an account of every row."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

NEEDED = pa.schema([("user", pa.string()), ("variant", pa.string()), ("request_id", pa.string())])
"""The columns of exposures that are joined with outcomes."""

PART = 1_000_000
"""Fewest exposures that are added before what is needed of them is found."""


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """What became of the rows of outcomes; their numbers add up to `rows`.

    Attributes:
        rows: all of them.
        matched: those of a request of this run; they count.
        moved: those of a request of a user who was in several variants; they count for nobody.
        unmatched: those of a request that is not among the exposures of this run; they count for nobody.
        ambiguous: those of a request id that several users' answers have; they count for nobody.
        examples: the first request id that is moved, unmatched, and ambiguous, by these words.
    """

    rows: int
    matched: int
    moved: int
    unmatched: int
    ambiguous: int
    examples: dict[str, str]

    def __str__(self) -> str:
        said = [f"{self.matched or 'NONE'} of {self.rows} outcomes are of its requests"]
        for kind, why, count in (
            ("moved", "of users in several variants", self.moved),
            ("unmatched", "of no request of this run", self.unmatched),
            ("ambiguous", "of a request id that several users have", self.ambiguous),
        ):
            if count:
                said.append(f"{count} {why}, first {self.examples[kind]!r}")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class NeededExposures:
    """Exposures as far as the analysis of some outcomes needs them, so that a long experiment fits into memory.

    A user with whatever number of requests without an outcome has one row in each variant, whose request is null.

    Attributes:
        request_ids: the requests that have an outcome.
        rows: by NEEDED.
        num_new: how many of the rows were added since what is needed was found last.
    """

    request_ids: pa.ChunkedArray
    rows: pa.Table = field(default_factory=NEEDED.empty_table)
    num_new: int = 0

    def with_groups(self, groups: Iterable[pa.Table]) -> "NeededExposures":
        """The same with further exposures, which come group by group."""
        needed = self
        for group in groups:
            rows = pa.concat_tables([needed.rows, group.select(NEEDED.names).cast(NEEDED)])
            needed = replace(needed, rows=rows, num_new=needed.num_new + len(group))
            if needed.num_new > max(PART, len(rows) // 2):
                needed = needed.reduced()
        return needed

    def reduced(self) -> "NeededExposures":
        """The same without what is not needed."""
        user, request_id = self.rows["user"], self.rows["request_id"]
        is_needed = pc.or_(pc.is_in(request_id, value_set=self.request_ids.combine_chunks()), pc.is_null(user))
        request_id = pc.if_else(is_needed, request_id, pa.scalar(None, pa.string()))
        rows = pa.table({"user": user, "variant": self.rows["variant"], "request_id": request_id})
        distinct = rows.group_by(NEEDED.names).aggregate([])
        return NeededExposures(self.request_ids, distinct.select(NEEDED.names).cast(NEEDED))


def requests_of(exposures: pa.Table) -> pa.Table:
    """Columns `unit`, `variant` and `request_id`: one row per request, of which some are recorded twice.

    Args:
        exposures: all of a run, or `NeededExposures.rows`.
    """
    unit = pc.coalesce(exposures["user"], exposures["request_id"])
    columns = {"unit": unit, "variant": exposures["variant"], "request_id": exposures["request_id"]}
    return pa.table(columns).group_by(["unit", "variant", "request_id"]).aggregate([])


def units_in_several(requests: pa.Table) -> pa.Array:
    """The units that were in more than one variant."""
    variants = requests.group_by(["unit", "variant"]).aggregate([]).group_by("unit").aggregate([([], "count_all")])
    return variants.filter(pc.greater(variants["count_all"], 1))["unit"].combine_chunks()


def match(requests: pa.Table, outcomes: pa.Table, in_several: pa.Array) -> tuple[pa.Table, OutcomeCounts]:
    """The outcomes that belong to one unit, and what became of all rows.

    Args:
        in_several: what `units_in_several` returns; outcomes of their requests are left out.
    """
    units = (
        requests.group_by(["unit", "request_id"]).aggregate([]).group_by("request_id").aggregate([([], "count_all")])
    )
    of_moved = pc.unique(requests["request_id"].filter(pc.is_in(requests["unit"], in_several)))
    request_ids = outcomes["request_id"]
    ambiguous = pc.is_in(request_ids, units["request_id"].filter(pc.greater(units["count_all"], 1)).combine_chunks())
    masks = {
        "moved": pc.and_not(pc.is_in(request_ids, of_moved), ambiguous),
        "unmatched": pc.invert(pc.is_in(request_ids, units["request_id"].combine_chunks())),
        "ambiguous": ambiguous,
    }
    counts = {kind: pc.sum(mask).as_py() or 0 for kind, mask in masks.items()}
    examples = {kind: request_ids.filter(mask)[0].as_py() for kind, mask in masks.items() if counts[kind]}
    left_out = pc.or_(pc.or_(masks["moved"], masks["unmatched"]), masks["ambiguous"])
    matched = outcomes.filter(pc.invert(left_out))
    return matched, OutcomeCounts(len(outcomes), len(matched), **counts, examples=examples)


def value_per_unit(requests: pa.Table, outcomes: pa.Table) -> pa.Table:
    """Columns `unit`, `variant` and `value_sum`, which is 0 for units without an outcome."""
    values = outcomes.group_by("request_id").aggregate([("value", "sum")])
    joined = requests.join(values, "request_id", join_type="left outer")
    value = pc.fill_null(joined["value_sum"].cast(pa.float64()), 0.0)
    units = pa.table({"unit": joined["unit"], "variant": joined["variant"], "value": value})
    return units.group_by(["unit", "variant"]).aggregate([("value", "sum")])
