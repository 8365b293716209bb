"""Matching: the outcomes of an experiment joined with the exposures of one run, and an account of every row."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc


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


def requests_of(exposures: pa.Table) -> pa.Table:
    """Columns `unit`, `variant` and `request_id`: one row per request, of which some are recorded twice."""
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
