"""Example requests that fit any dataset, and answers as tables."""

from typing import Any

import numpy as np
from rich.table import Table

from data.sources.event_types import is_positive
from serve.api.schemas import RecommendResponse
from serve.events.config import EventsConfig
from towers.checkpoint.checkpoint import Checkpoint


def requests(checkpoint: Checkpoint, k: int) -> dict[str, dict[str, Any]]:
    """Returns request bodies by title: a known user, an unknown one, a filter, a history and, if known, a context."""
    history = checkpoint.history
    known_row = int((history.lengths_U >= min(10, history.lengths_U.max())).argmax())
    known = checkpoint.users.ids.ids(np.array([known_row]))[0].as_py()
    recent = checkpoint.items.ids.ids(history.of_user(known_row)[-3:]).to_pylist()
    filtered = {"user_id": known, "k": k} | ({"filter": f} if (f := example_filter(checkpoint)) else {})
    values = checkpoint.reranker.context.as_json()
    context = {name: known_values[-1] for name, known_values in values.items() if known_values}
    with_context = {f"known user, context {context}": {"user_id": known, "k": k, "context": context}} if context else {}
    return {
        f"known user {known}": {"user_id": known, "k": k},
        "unknown user": {"user_id": "nobody-we-know", "k": k},
        f"known user, filter {filtered.get('filter')}": filtered,
        f"no user id, history {recent} in the request": {"history": recent, "k": k},
        **with_context,
    }


def example_filter(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Returns a filter on the first item feature of strings, by its most common value; None if there is no feature."""
    for feature in checkpoint.items.features:
        if feature.kind.is_number or not feature.kind.is_filterable:
            continue
        column = checkpoint.items.held[feature.name].combine_chunks()
        counts = (column.flatten() if feature.kind.is_list else column.drop_null()).value_counts()
        if len(counts):
            value = max(counts.to_pylist(), key=lambda c: c["counts"])["values"]
            return {"field": feature.name, "op": feature.kind.filter_operators[0], "value": value}
    return None


def strongest_type(events: EventsConfig) -> str:
    """Returns the positive type of events with the highest weight."""
    positive = {name: type_.weight for name, type_ in events.types.items() if is_positive(type_)}
    return max(positive, key=lambda name: positive[name])


def answer_table(title: str, answer: RecommendResponse) -> Table:
    """Returns a table of one answer: titles, features, scores, and the time of each stage."""
    stages = ", ".join(f"{stage} {ms:.1f} ms" for stage, ms in answer.timings_ms.items())
    table = Table(
        title=title,
        caption=f"{answer.source.value}{' DEGRADED ' + str(answer.reasons) if answer.degraded else ''}; {stages}",
    )
    for column in ("", "title", "features", "score"):
        table.add_column(column, justify="right" if column in ("", "score") else "left")
    for rank, item in enumerate(answer.items, start=1):
        features = "  ".join(_plain(value) for value in item.features.values() if value not in (None, []))
        table.add_row(str(rank), item.title, features, f"{item.score:.3f}")
    return table


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
