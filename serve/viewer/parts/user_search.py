"""The search of a user: by id, or one picked by chance."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui

from serve.viewer.parts.elements import button, note, part, refilled, text
from serve.viewer.reading.released import ReleasedCatalogue

NUM_FOUND = 12

PICKS = {"random": "any user", "heavy": "a user with a long history", "cold": "a user with the shortest history"}


class UserSearch:
    """A field that takes an id or a part of one, the users found, and buttons that pick one by chance.

    Args:
        catalogue: The release whose users are searched; None takes ids as they are.
        user_id: The id in the field at first.
        choose: Is awaited with the id of the chosen user.
    """

    def __init__(
        self, catalogue: ReleasedCatalogue | None, user_id: str, choose: Callable[[str], Awaitable[None]]
    ) -> None:
        self._catalogue, self._choose, self._number, self._taken = catalogue, choose, 0, user_id
        self._field = ui.input("user id", value=user_id).props("outlined dense debounce=150 clearable").classes("wide")
        self._field.on_value_change(self._search)
        self._field.on("keydown.enter", self._take)
        with part("div", "line"):
            if catalogue is not None:
                for which, says in PICKS.items():
                    button(which, partial(self.pick, which), says)
            ui.button("ask", on_click=self._take).props("dense no-caps")
        self._found = part("div")

    async def pick(self, which: str) -> None:
        """Picks a user by chance: random, heavy or cold."""
        if self._catalogue is None:
            return
        try:
            await self._take(await asyncio.to_thread(self._catalogue.pick_user, which))
        except LookupError as e:
            self._say(str(e))

    async def _take(self, user_id: object = None) -> None:
        chosen = user_id if isinstance(user_id, str) else (self._field.value or "").strip()
        self._number, self._taken = self._number + 1, chosen
        self._found.clear()
        self._field.set_value(chosen)
        await self._choose(chosen)

    async def _search(self) -> None:
        self._number += 1
        number, query = self._number, (self._field.value or "").strip()
        if self._catalogue is None or not query or query == self._taken:
            self._found.clear()
            return
        found, has_more = await asyncio.to_thread(self._catalogue.find_users, query, NUM_FOUND)
        if number != self._number:
            return
        with refilled(self._found):
            if not found:
                note("No user of the release has such an id; “ask” asks for it all the same.")
            with part("ul", "choices").props('aria-label="users found"'):
                for user_id, count in found:
                    with part("li"):
                        button(f"{user_id} · {count:,} interactions", partial(self._take, user_id))
            if has_more:
                text("p", "There are more.", "soft")

    def _say(self, problem: str) -> None:
        with refilled(self._found):
            note(problem, "problem")
