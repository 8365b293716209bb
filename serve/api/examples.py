"""The whole way in one command, `make demo`: log -> dataset -> towers -> release -> endpoint -> recommendations."""

from typing import Any

import numpy as np
from rich.table import Table

from data.sources.schema import FeatureKind
from serve.api.schemas import RecommendResponse
from towers.checkpoint.checkpoint import Checkpoint


def requests(checkpoint: Checkpoint, k: int) -> dict[str, dict[str, Any]]:
    """Requests that fit any dataset: a known user, an unknown one, one with a filter, one with a history, a context."""
    seen = checkpoint.seen
    known_row = int((seen.lengths_U >= min(10, seen.lengths_U.max())).argmax())
    known = checkpoint.users.ids.ids(np.array([known_row]))[0].as_py()
    recent = checkpoint.items.ids.ids(seen.of_user(known_row)[-3:]).to_pylist()
    filtered = {"user_id": known, "k": k} | ({"filter": f} if (f := example_filter(checkpoint)) else {})
    values = checkpoint.reranker.context.as_json()
    context = {name: known_values[-1] for name, known_values in values.items() if known_values}
    told = {f"known user, context {context}": {"user_id": known, "k": k, "context": context}} if context else {}
    return {
        f"known user {known}": {"user_id": known, "k": k},
        "unknown user": {"user_id": "nobody-we-know", "k": k},
        f"known user, filter {filtered.get('filter')}": filtered,
        f"no user id, history {recent} in the request": {"history": recent, "k": k},
        **told,
    }


def example_filter(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """A filter on the first filterable item feature, by its most common value."""
    for feature in checkpoint.items.features:
        column = checkpoint.items.table[feature.name].combine_chunks()
        if feature.kind is FeatureKind.multi_categorical:
            counts = column.flatten().value_counts()
        elif feature.kind is FeatureKind.categorical:
            counts = column.drop_null().value_counts()
        else:
            continue
        if len(counts):
            value = max(counts.to_pylist(), key=lambda c: c["counts"])["values"]
            op = "contains" if feature.kind is FeatureKind.multi_categorical else "=="
            return {"field": feature.name, "op": op, "value": value}
    return None


def answer_table(title: str, answer: RecommendResponse) -> Table:
    """One answer for people: titles, features, scores, and where the time went."""
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
