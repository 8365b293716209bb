"""Which rows of a block of a log are interactions, and which of these are kept."""

import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sources.source import EVENT_POSITIONS


def with_ids(block: pa.Table) -> pa.Table:
    """The rows of a block that are not events without an id."""
    return block.filter(pc.is_null(block["missing"])) if block["missing"].null_count < len(block) else block


def above(block: pa.Table, min_weight: float | None) -> pa.Table:
    """The interactions of a block that are kept: those of at least this weight; None keeps all.

    Events of an endpoint have no weight in their log, and are kept.
    """
    if min_weight is None:
        return block
    bound = pa.scalar(min_weight, block.schema.field("weight").type)  # rounded as the weights are: 4.1 is at least 4.1
    is_event = pc.greater_equal(block["position"], EVENT_POSITIONS)
    return block.filter(pc.or_kleene(is_event, pc.greater_equal(block["weight"], bound)))
