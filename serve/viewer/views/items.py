"""Items: search, similar items, to whom an item is shown, and the map of the embedding space."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from nicegui import ui

from serve.viewer.endpoint import asked
from serve.viewer.parts.answer_list import item_words
from serve.viewer.parts.elements import button, choice, note, panel, part, refilled, table, text
from serve.viewer.parts.plots import bars, points
from serve.viewer.parts.shell import put
from serve.viewer.reading.audience import Audience
from serve.viewer.reading.released import DisplayItem, ReleasedCatalogue
from serve.viewer.viewer import Viewer

if TYPE_CHECKING:
    from serve.viewer.reading.item_map import ItemMap

NUM_FOUND = 20

FIRST = "\n"
"""Stands for the first feature, where the address names none; no feature has this name."""


def register(viewer: Viewer) -> None:
    """Puts the view at its address."""
    put("/items", lambda given: ItemsView(viewer, given))


class ItemsView:
    """One open view.

    Args:
        viewer: What all views share.
        given: The parameters of the address: item, user (on the map), feature (its colours).
    """

    def __init__(self, viewer: Viewer, given: Mapping[str, str]) -> None:
        self._viewer, self._similar = viewer, list[str]()
        self._number, self._number_drawn = 0, 0  # of the latest search, and of the latest map
        self._item, self._user, self._feature = (
            given.get("item", ""),
            given.get("user", ""),
            given.get("feature", FIRST),
        )
        with part("div", "columns side"):
            with part("div", "stack"), panel("Search"):
                self._search_box = part("div")
            with part("div", "stack"):
                with panel("Item"):
                    self._item_box = part("div").props('aria-live="polite"')
                with panel("Map of the embedding space"):
                    self._map_controls = part("div", "line")
                    self._map_box = part("div")
        with self._item_box:
            note("Reading the release ...")

    async def start(self) -> None:
        """Shows the search; runs once the page is shown."""
        found = await self._viewer.catalogue()
        if found.answer is None:
            with refilled(self._item_box):
                note(found.problem, "problem")
            return
        self._catalogue: ReleasedCatalogue = found.answer
        await asyncio.to_thread(lambda: (self._catalogue.item_search, self._catalogue.filterable))
        with self._search_box:
            self._field = ui.input("title or id").props("outlined dense debounce=150 clearable").classes("wide")
            self._field.on_value_change(self._search)
            self._found_box = part("div")
        with self._map_controls:
            names = {"": "none"} | {f.name: f.name for f in self._catalogue.filterable}
            self._feature = self._feature if self._feature in names else [*names, ""][1]
            choice("colour", names, self._feature, lambda e: self._set_map(feature=e.value), "medium")
            user = ui.input("user on the map", value=self._user).props("outlined dense debounce=400 clearable")
            user.on_value_change(lambda e: self._set_map(user=(e.value or "").strip()))
            button("draw the map", self._draw)
        with self._map_box:
            note("The map opens the release with its towers, which takes a moment.")
        await self._search()
        if not self._item:
            best, _ = await asyncio.to_thread(self._catalogue.find_items, "", 1)
            self._item = best[0].id if best else ""
        await self._show()
        if self._user:
            await self._draw()

    async def _search(self) -> None:
        self._number += 1
        number, query = self._number, (self._field.value or "").strip()
        found, has_more = await asyncio.to_thread(self._catalogue.find_items, query, NUM_FOUND)
        if number != self._number:
            return
        with refilled(self._found_box):
            if not found:
                note("No item has these words in its title or id.")
            with part("ul", "items plain-list").props('aria-label="items found"'):
                for item in found:
                    with part("li", "single"), part("div", "what"):
                        item_words(item.id, item.title, item.features)
            if has_more:
                text("p", "There are more." if query else "The most frequent items of the log.", "soft")

    async def _show(self) -> None:
        """Shows the chosen item with what is similar to it."""
        if not self._item:
            with refilled(self._item_box):
                note("The release has no item.")
            return
        [item] = await asyncio.to_thread(self._catalogue.display, [self._item])
        similar = await asked(self._viewer.endpoint.similar(self._item, k=10))
        self._similar = [] if similar.answer is None else [found.id for found in similar.answer.items]
        with refilled(self._item_box):
            self._say(item)
            text("h3", "Similar items")
            if similar.answer is None:
                note(similar.problem, "problem")
            else:
                with part("ol", "items short").props('aria-label="similar items, nearest first"'):
                    for rank, found in enumerate(similar.answer.items, start=1):
                        with part("li"):
                            text("span", rank, "rank")
                            with part("div", "what"):
                                item_words(found.id, found.title, found.features)
                            text("span", f"{found.score:.3f}", "moved")
            text("h3", "Audience")
            self._audience_box = part("div")
            with self._audience_box:
                size = self._viewer.config.sampled_users
                button(f"to whom of {size:,} users is it shown?", self._audience)

    def _say(self, item: DisplayItem) -> None:
        with part("div", "what"):
            item_words(item.id, item.title, item.features)
        if not item.title and not item.features:
            note("The live release does not know this item.")

    async def _audience(self) -> None:
        with refilled(self._audience_box):
            note("Asking for the lists of the users ...")
        try:
            found: Audience | str = await self._viewer.audience(self._catalogue.folder.name, self._item)
        except (OSError, ValueError) as e:  # it is not known who was forgotten, or the release is damaged
            found = str(e)
        with refilled(self._audience_box):
            if isinstance(found, str):
                note(found, "problem")
            else:
                self._tell_audience(found)

    def _tell_audience(self, found: Audience) -> None:
        users = f"{found.num_shown:,} of {found.num_users:,} users with a history"
        note(f"{users} get it among their first {found.k} items.")
        if not found.num_shown:
            return
        bars("places at which it is shown", [str(n) for n in range(1, found.k + 1)], {"users": found.by_place})
        table(("feature", "value", "share of those who get it", "share of all"), found.features, "who they are")
        text("h3", "Some of them")
        with part("div", "line"):
            for user_id, place in found.users:
                text("a", f"{user_id} (at {place})").props["href"] = f"/?user={quote(user_id, safe='')}"

    async def _set_map(self, feature: str | None = None, user: str | None = None) -> None:
        self._feature = self._feature if feature is None else feature
        self._user = self._user if user is None else user
        await self._draw()

    async def _draw(self) -> None:
        self._number_drawn += 1
        number, user, feature = self._number_drawn, self._user, self._feature
        address = {"item": self._item, "user": user, "feature": feature}
        ui.navigate.history.replace(f"/items?{urlencode({k: v for k, v in address.items() if v})}")
        with refilled(self._map_box):
            note("Drawing ...")
        chosen = [self._item, *self._similar]
        try:
            found: ItemMap | str = await self._viewer.item_map(self._catalogue.folder.name, feature, chosen, user)
        except (OSError, ValueError) as e:
            found = str(e)
        if number != self._number_drawn:  # another map was asked for meanwhile
            return
        with refilled(self._map_box):
            if isinstance(found, str):
                note(found, "problem")
            else:
                self._tell_map(found, user, feature)

    def _tell_map(self, found: "ItemMap", user: str, feature: str) -> None:
        if user and "user" not in found.marked:
            note("The release knows nothing of this user.")
        groups, marked = (
            {name: [{"name": p.says, "value": [round(p.x, 4), round(p.y, 4)]} for p in of] for name, of in by.items()}
            for by in (found.groups, found.marked)
        )
        title = f"{found.num_items:,} items by {feature or 'nothing'}, in two dimensions (PCA)"
        shares = f"{found.explained[0]:.0%} of the variance; upwards {found.explained[1]:.0%}"
        points(title, groups, marked, x=shares, tall=True)
        note("Turn the wheel to zoom, drag to move. “chosen” is the item with those similar to it.")
