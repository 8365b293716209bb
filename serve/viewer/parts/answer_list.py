"""An answer as people read it: how it came about, the time of its stages, and its items."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from serve.api.schemas import Item, RecommendResponse
from serve.viewer.parts.elements import badge, bar, button, formatted, labelled, movement, note, part, text

Act = Callable[[Item], Any]


def answer_head(answer: RecommendResponse, num_conditions: int = 0) -> None:
    """Adds badges that say which release answered, and what was left out."""
    with part("div", "badges"):
        badge(f"release {answer.release_id}")
        badge(f"source: {answer.source.value}", "good" if answer.source.value == "towers" else "warn")
        if answer.degraded:
            badge("degraded", "bad")
        for reason in answer.reasons:
            badge(reason.replace("_", " "), "bad")
        if answer.stale:
            badge("stale pointer", "bad")
        if answer.experiment is not None:
            badge(f"experiment {answer.experiment}: {answer.variant}", "warn")
        for unknown in (*answer.unknown_items, *answer.unknown_context):
            badge(f"unknown: {unknown}", "warn")
        if answer.explained is not None:
            badge(f"{answer.explained.num_candidates:,} candidates")
            if answer.explained.num_excluded:
                badge(f"{answer.explained.num_excluded:,} left out: seen or excluded")
            if num_conditions:
                badge(f"filter: {num_conditions} {'condition' if num_conditions == 1 else 'conditions'}")


def stage_times(timings_ms: Mapping[str, float]) -> None:
    """Adds one bar, divided by the time of each stage."""
    total = sum(timings_ms.values())
    if not total:
        return
    words = ", ".join(f"{stage} {ms:.1f} ms" for stage, ms in timings_ms.items())
    with labelled("div", f"time per stage: {words}", "stages").props('role="img"'):
        for number, ms in enumerate(timings_ms.values()):
            part("span", f"stage-{number % 6}").style(f"width: {100 * ms / total:.2f}%")
    with part("div", "legend"):
        for number, (stage, ms) in enumerate(timings_ms.items()):
            with part("span"):
                part("i", f"stage-{number % 6}")
                text("span", f"{stage} {ms:.1f} ms")
        text("span", f"together {total:.1f} ms", "soft")


def items_list(items: Sequence[Item], titles: Mapping[str, str], actions: Mapping[str, Act], label: str) -> None:
    """Adds the items of an answer, best first.

    Args:
        titles: the titles of the items that explanations name.
        actions: what buttons of an item do, by their text.
        label: what the list is, for screen readers.
    """
    if not items:
        note("No item: nothing passes the filter, or everything is seen.")
        return
    scores = [item.score for item in items]
    low, high = min(scores), max(scores)
    with labelled("ol", label, "items"):
        for rank, item in enumerate(items, start=1):
            with part("li"):
                text("span", rank, "rank")
                _movement(rank, item)
                with part("div", "what"):
                    item_words(item.id, item.title, item.features)
                    _reason(item, titles)
                bar(0.08 + 0.92 * (item.score - low) / (high - low) if high > low else 1.0, f"{item.score:.3f}")
                with part("div", "actions"):
                    for name, act in actions.items():
                        button(name, partial(act, item)).props("size=sm")


def item_words(id_: str, title: str, features: Mapping[str, Any]) -> None:
    """Adds the title, the id and the features of an item."""
    with part("div"):
        text("a", title or id_, "title").props["href"] = item_address(id_)
        if title:
            text("span", id_, "id")
    said = [f"{name}: {formatted(value)}" for name, value in features.items() if value not in (None, [], "")]
    if said:
        text("div", " · ".join(said), "features")


def item_address(id_: str) -> str:
    """Returns the address of an item in the view of items."""
    return f"/items?item={quote(id_, safe='')}"


def _movement(rank: int, item: Item) -> None:
    """Adds the rank in retrieval and an arrow to the final one."""
    retrieved = None if item.explanation is None else item.explanation.retrieval_rank
    if retrieved is None:
        text("span", "filled up" if item.explanation is not None else "", "moved")
        return
    moved = movement(f"{retrieved} → {rank}", retrieved - rank)
    moved.props["title"] = f"rank in retrieval {retrieved}, final rank {rank}"


def _reason(item: Item, titles: Mapping[str, str]) -> None:
    """Adds the items of the history that are nearest to an item."""
    if item.explanation is None or not item.explanation.nearest_history:
        return
    near = ", ".join(f"{titles.get(n.id) or n.id} ({n.cosine:.2f})" for n in item.explanation.nearest_history[:2])
    text("div", f"near to {near}", "features")
