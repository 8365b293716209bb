"""The history of a user: the items that the release was trained on, and the events since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serve.api.events.schemas import KnownEvent
from serve.viewer.parts.answer_list import item_words
from serve.viewer.parts.elements import badge, note, part, text
from serve.viewer.reading.released import DisplayItem


@dataclass(frozen=True)
class Past:
    """The history of a user, and their features.

    Attributes:
        user_id: The user.
        features: Their features by name; None if the release does not know the user.
        learnt: Items of the history that the release was trained on, oldest first.
        events: Events since, oldest first.
        items: All items of the history and of the events, by id.
        times: Times of the interactions in `learnt`; empty if they are not known.
        remark: What could not be read; empty if all could.
    """

    user_id: str
    features: Mapping[str, Any] | None
    learnt: Sequence[str]
    events: Sequence[KnownEvent]
    items: Mapping[str, DisplayItem]
    times: Sequence[datetime] = ()
    remark: str = ""


def past_of_user(past: Past) -> None:
    """Adds the history as a timeline, the latest first."""
    with part("div", "badges"):
        badge(past.user_id)
        if past.features is None:
            badge("not in the release", "warn")
        else:
            for name, value in past.features.items():
                badge(f"{name}: {value}")
    if past.remark:
        note(past.remark)
    if not past.learnt and not past.events:
        note("Nothing is known of this user.")
        return
    with part("ol", "timeline").props('aria-label="history, latest first" tabindex="0"'):
        for event in reversed(past.events):
            with part("li", "event"):
                when = f"{event.time:%Y-%m-%d %H:%M}"
                context = "".join(f", {name} {value}" for name, value in event.context.items())
                text("div", f"{event.type}, {when}{context}", "soft")
                _item(past, event.item_id)
        times: Sequence[datetime | None] = past.times or [None] * len(past.learnt)
        for id_, at in reversed(list(zip(past.learnt, times, strict=True))):
            with part("li"):
                if at is not None:
                    text("div", f"{at:%Y-%m-%d %H:%M}", "soft")
                _item(past, id_)


def _item(past: Past, id_: str) -> None:
    item = past.items.get(id_, DisplayItem(id_, "", {}))
    item_words(item.id, item.title, item.features)
