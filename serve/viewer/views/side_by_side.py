"""Two releases, or two stages of one, side by side: for one user, and over a sample of users."""

import asyncio
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import pyarrow as pa
from nicegui import ui

from serve.api.limits import MAX_K
from serve.viewer.parts.answer_list import item_words
from serve.viewer.parts.elements import choice, labelled, movement, note, panel, part, refilled, table, text
from serve.viewer.parts.plots import bars
from serve.viewer.parts.shell import put
from serve.viewer.parts.user_search import UserSearch
from serve.viewer.question import number_of_items
from serve.viewer.reading.comparison import Compared, Place, places
from serve.viewer.reading.released import DisplayItem
from serve.viewer.viewer import Viewer

ORDERS = {"full": "re-ranked", "towers": "towers alone", "popular": "popular items"}
"""The names of `serve.viewer.reading.opened.Order`, which needs torch, and what they say."""


def register(viewer: Viewer) -> None:
    """Puts the view at its address."""
    put("/side-by-side", lambda given: SideBySide(viewer, given))


class SideBySide:
    """One open view.

    Args:
        viewer: What all views share.
        given: The parameters of the address: user, k, and left and right as release:order.
    """

    def __init__(self, viewer: Viewer, given: Mapping[str, str]) -> None:
        self._viewer, self._client = viewer, ui.context.client
        self._number, self._number_compared = 0, 0  # of the latest question, and of the latest one over a sample
        self._user_id, self._k = given.get("user", ""), number_of_items(given, viewer.config.k)
        self._sides = (given.get("left", ""), given.get("right", ""))
        with part("div", "columns side"):
            with part("div", "stack"):
                with panel("User"):
                    self._search_box = part("div")
                with panel("What is compared"):
                    self._choices_box = part("div", "stack")
            with part("div", "stack"):
                self._lists_box = part("div", "columns halves").props('aria-live="polite"')
                with panel("Over a sample of users"):
                    self._sample_box = part("div")
        with self._lists_box:
            note("Reading the releases ...")

    async def start(self) -> None:
        """Shows the controls and compares; runs once the page is shown."""
        ids = await asyncio.to_thread(self._viewer.registry.ids)
        found = await self._viewer.catalogue()
        if found.answer is None or not ids:
            self._tell(found.problem or "There is no release.")
            return
        live = found.answer
        options = {f"{id_}:{order}": f"{id_}: {says}" for id_ in reversed(ids) for order, says in ORDERS.items()}
        here = live.folder.name
        others = [id_ for id_ in reversed(ids) if id_ != here]
        defaults = [f"{here}:full", f"{others[0]}:full" if others else f"{here}:towers"]
        left, right = (
            side if side in options else default for side, default in zip(self._sides, defaults, strict=True)
        )
        self._sides = left, right
        with self._choices_box:
            for number, name in enumerate(("left", "right")):
                choice(name, options, self._sides[number], lambda e, n=number: self._choose(n, e.value), "wide")
            field = ui.number("items", value=self._k, min=1, max=MAX_K, precision=0).classes("narrow")
            field.props("outlined dense debounce=300").on_value_change(lambda e: self._set_k(e.value))
            note("Here releases answer in the process of the page, by batch inference: without events and context.")
        with self._sample_box:
            size = self._viewer.config.sampled_users
            ui.button(f"compare for {size:,} users", on_click=self._compare).props("dense no-caps")
            self._compared_box = part("div")
        with self._search_box:
            search = UserSearch(live, self._user_id, self._choose_user)
        await (self._show() if self._user_id else search.pick("random"))

    async def _choose(self, number: int, side: str) -> None:
        self._sides = (side, self._sides[1]) if number == 0 else (self._sides[0], side)
        self._forget_comparison()
        await self._show()

    async def _set_k(self, k: float | None) -> None:
        self._k = int(min(max(k or 1, 1), MAX_K))
        self._forget_comparison()
        await self._show()

    def _forget_comparison(self) -> None:
        """Takes away the comparison over a sample, which belongs to other choices; one under way is not shown."""
        self._number_compared += 1
        self._compared_box.clear()

    async def _choose_user(self, user_id: str) -> None:
        self._user_id = user_id
        await self._show()

    async def _show(self) -> None:
        """Shows the lists of both sides for the user."""
        self._number += 1
        number, sides, user_id, k = self._number, self._sides, self._user_id, self._k
        address = {"user": user_id, "k": str(k), "left": sides[0], "right": sides[1]}
        with self._client:  # the button that asked may be gone already
            ui.navigate.history.replace(f"/side-by-side?{urlencode(address)}")
        try:
            lists = [(await self._viewer.lists(side, pa.array([user_id]), k))[0] for side in sides]
            shown = [
                await self._viewer.display(side.rpartition(":")[0], ids) for side, ids in zip(sides, lists, strict=True)
            ]
        except (OSError, ValueError) as e:  # ReleaseError and NotSealed are ValueErrors
            if number == self._number:
                self._tell(str(e))
            return
        if number != self._number:
            return
        with refilled(self._lists_box):
            for side, items, one, other in zip(sides, shown, lists, lists[::-1], strict=True):
                self._list(side, items, places(one, other))

    def _list(self, side: str, shown: list[DisplayItem], items: list[Place]) -> None:
        release_id, _, order = side.rpartition(":")
        num_both = sum(place.other_rank is not None for place in items)
        with panel(f"{release_id}: {ORDERS[order]}"):
            note(f"{num_both} of {len(items)} are on the other side too.")
            with labelled("ol", f"{release_id}, {ORDERS[order]}, best first", "items short"):
                for place, item in zip(items, shown, strict=True):
                    with part("li"):
                        text("span", place.rank, "rank")
                        with part("div", "what"):
                            item_words(item.id, item.title, item.features)
                        _moved(place)

    async def _compare(self) -> None:
        """Compares both sides over a sample of users."""
        self._number_compared += 1
        number, sides, k = self._number_compared, self._sides, self._k
        with refilled(self._compared_box):
            note("Comparing ...")
        try:
            found: Compared | str = await self._viewer.compare(sides, k)
        except (OSError, ValueError) as e:
            found = str(e)
        if number != self._number_compared:  # other choices were made meanwhile
            return
        with refilled(self._compared_box):
            if isinstance(found, str):
                note(found, "problem")
            else:
                self._tell_comparison(found, sides, k)

    def _tell_comparison(self, found: Compared, sides: tuple[str, str], k: int) -> None:
        low, high = found.interval
        text("h3", f"Overlap of the first {k}: {found.overlap:.1%} ({low:.1%} to {high:.1%})")
        note(f"Mean over {found.num_users:,} users with a history, with its 95 % interval.")
        rows = [
            ("distinct items", found.one.distinct, found.other.distinct),
            ("coverage of the catalogue", f"{found.one.coverage:.1%}", f"{found.other.coverage:.1%}"),
            ("mean interactions of an item", f"{found.one.popularity:,.1f}", f"{found.other.popularity:,.1f}"),
        ]
        table(("of the lists", "left", "right"), rows, "what each side recommends")
        classes = [f"{n * 10} to {n * 10 + 10} %" for n in range(10)]
        bars("users by overlap", classes, {"users": [float(n) for n in found.histogram]})
        text("h3", "Where they differ most")
        with part("div", "line"):
            for user_id, overlap in found.most_different:
                left, right = (quote(side, safe="") for side in sides)
                link = text("a", f"{user_id} ({overlap:.0%})")
                link.props["href"] = f"/side-by-side?user={quote(user_id, safe='')}&k={k}&left={left}&right={right}"

    def _tell(self, problem: str) -> None:
        with refilled(self._lists_box):
            note(problem, "problem")


def _moved(place: Place) -> None:
    """Adds where the other side has an item."""
    if place.other_rank is None:
        text("span", "only here", "badge warn")
        return
    movement(f"there {place.other_rank}", place.other_rank - place.rank)
