"""The first view: a user's past beside what is offered, with the controls of the request."""

import asyncio
import os
import uuid
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
from nicegui import ui

from serve.api.connection import KEY
from serve.api.schemas import Item, RecommendResponse
from serve.viewer import snippets
from serve.viewer.endpoint import Asked, asked
from serve.viewer.parts.answer_list import answer_head, items_list, stage_times
from serve.viewer.parts.controls import Controls
from serve.viewer.parts.elements import button, note, panel, part, refilled, text
from serve.viewer.parts.history import Past, past_of_user
from serve.viewer.parts.shell import put
from serve.viewer.parts.user_search import UserSearch
from serve.viewer.question import Question
from serve.viewer.reading.released import ReleasedCatalogue
from serve.viewer.viewer import Viewer

NOT_FOUND = 404
"""The status of an endpoint that keeps no events."""


def register(viewer: Viewer) -> None:
    """Puts the view at its address."""
    put("/", lambda given: AnswersView(viewer, Question.of_parameters(given, viewer.config.k)))


class AnswersView:
    """One open view.

    Args:
        viewer: What all views share.
        question: What is asked at first.
    """

    def __init__(self, viewer: Viewer, question: Question) -> None:
        self._viewer, self._question, self._number = viewer, question, 0
        self._client = ui.context.client
        self._catalogue: Asked[ReleasedCatalogue] = Asked()
        self._controls: Controls | None = None
        with part("div", "columns side"):
            with part("div", "stack"):
                with panel("User"):
                    self._search_box = part("div")
                with panel("History", "last"):
                    self._past_box = part("div")
            with part("div", "stack"):
                self._remark_box = part("div")
                with panel("Request"):
                    self._controls_box = part("div")
                    self._code_box = part("div")
                with panel("Answer"):
                    self._answer_box = part("div").props('aria-live="polite"')
        with self._answer_box:
            note("Reading the release ...")

    async def start(self) -> None:
        """Reads the release and asks the first question; runs once the page is shown."""
        self._catalogue = await self._viewer.catalogue()
        catalogue = self._catalogue.answer
        if catalogue is not None:
            await asyncio.to_thread(lambda: (catalogue.filterable, catalogue.user_search))
        with self._controls_box:
            self._controls = Controls(self._question, catalogue, self.ask)
            self._controls.show()
        with self._search_box:
            search = UserSearch(catalogue, self._question.user_id, self._choose_user)
        if catalogue is None:
            with self._remark_box:
                note(f"Without a release there are no titles and no search: {self._catalogue.problem}", "problem")
        elif not self._question.user_id and not self._question.history:
            await search.pick("random")
            return
        await self.ask()

    async def _choose_user(self, user_id: str) -> None:
        self._question.user_id = user_id
        await self.ask()

    async def ask(self) -> None:
        """Asks the endpoint for what the controls say now, and shows the answer and the user's past."""
        self._number += 1
        number, question = self._number, self._question
        with self._client:  # the button that asked may be gone already
            ui.navigate.history.replace(f"/?{urlencode(question.parameters())}")
        self._show_code()
        body = question.body()
        answer, past = await asyncio.gather(
            asked(self._viewer.endpoint.recommend(**body, explain=True)), self._past(question.user_id)
        )
        titles = {} if answer.answer is None else await self._titles(answer.answer)
        if number != self._number:  # another question was asked meanwhile
            return
        with refilled(self._past_box):
            if past is None:
                note("A request without a user: only the history that it names counts.")
            else:
                past_of_user(past)
        if answer.answer is None:
            self._tell(answer.problem)
        else:
            self._show(answer.answer, titles)

    def _show(self, answer: RecommendResponse, titles: dict[str, str]) -> None:
        actions: dict[str, Any] = {"+ history": lambda item: self._add_to_history(item.id)}
        user_id = self._question.user_id  # that of this answer, also while another one is on its way
        if self._viewer.config.send_events and user_id:
            send = {self._viewer.config.event_type: lambda item: self._send(item, user_id, answer.request_id)}
            actions = send | actions
        with refilled(self._answer_box):
            answer_head(answer, len(self._question.conditions))
            stage_times(answer.timings_ms)
            items_list(answer.items, titles, actions, "answer, best first")

    def _tell(self, problem: str) -> None:
        with refilled(self._answer_box):
            note(problem, "problem")

    async def _add_to_history(self, item_id: str) -> None:
        if self._controls is not None:
            await self._controls.add_to_history(item_id)

    async def _send(self, item: Item, user_id: str, request_id: str) -> None:
        """Sends an event, and asks again: the answer knows it."""
        event = {
            "event_id": f"page-{uuid.uuid4().hex}", "user_id": user_id, "item_id": item.id,
            "type": self._viewer.config.event_type, "request_id": request_id,
        }  # fmt: skip
        sent = await asked(self._viewer.endpoint.send_events([event]))
        with self._client:
            if sent.answer is None:
                ui.notify(f"The event was not taken: {sent.problem}", type="negative")
                return
            ui.notify(f"{event['type']} of {item.title or item.id} sent")
        await self.ask()

    async def _past(self, user_id: str) -> Past | None:
        """What is known of a user; None for a request without one."""
        return await past_of(self._viewer, self._catalogue.answer, user_id) if user_id else None

    async def _titles(self, answer: RecommendResponse) -> dict[str, str]:
        """The titles of the items of the history that explanations name."""
        explained = (item.explanation for item in answer.items if item.explanation is not None)
        ids = list({near.id for explanation in explained for near in explanation.nearest_history})
        catalogue = self._catalogue.answer
        if catalogue is None or not ids:
            return {}
        return {item.id: item.title for item in await asyncio.to_thread(catalogue.display, ids)}

    def _show_code(self) -> None:
        self._code_box.clear()
        body, address = self._question.body(), self._viewer.config.endpoint
        with self._code_box, part("details"):
            text("summary", "this request as curl and Python")
            for name, code in (
                ("curl", snippets.curl(address, body, shows_key=KEY in os.environ)),
                ("Python", snippets.python(address, body)),
            ):
                with part("div", "line"):
                    text("h3", name)
                    button(f"copy {name}").on("click", js_handler=_COPY)
                text("pre", code, "code").props('tabindex="0"')


async def past_of(viewer: Viewer, catalogue: ReleasedCatalogue | None, user_id: str) -> Past:
    """What is known of a user: by the endpoint or, where it does not say, by the release.

    Of a user who was forgotten since the log of the release was read, only the events since are shown.
    """
    known = await asked(viewer.endpoint.user(user_id))
    events = [] if known.answer is None else known.answer.events
    remark = "" if known.answer is not None or known.status == NOT_FOUND else _UNSAID
    if catalogue is None:
        learnt = [] if known.answer is None else known.answer.release_history
        return Past(user_id, None, learnt, events, {}, remark=remark)
    of_release = catalogue
    if known.answer is not None:
        is_forgotten = known.answer.forgotten is not None and not known.answer.release_history
    else:
        is_forgotten, problem = await asyncio.to_thread(_is_forgotten, viewer, of_release, user_id)
        remark = f"{remark} {problem}".strip()

    def read() -> Past:
        learnt = [] if is_forgotten else of_release.history(user_id)
        ids = list(dict.fromkeys([*learnt, *(event.item_id for event in events)]))
        items = {item.id: item for item in of_release.display(ids)}
        if is_forgotten:
            return Past(user_id, {}, [], events, items, remark=remark or _FORGOTTEN)
        features, times = of_release.user_features(user_id), of_release.history_times(user_id)
        return Past(user_id, features, learnt, events, items, times, remark)

    return await asyncio.to_thread(read)


def _is_forgotten(viewer: Viewer, catalogue: ReleasedCatalogue, user_id: str) -> tuple[bool, str]:
    """Whether a user was forgotten since the log of a release was read, or may have been, and what to say of it."""
    try:
        is_forgotten = bool(viewer.forgotten(pa.array([user_id]), catalogue.manifest))
    except OSError as e:  # the states of users cannot be read
        return True, f"What the release has learnt of the user is not shown: {e}"
    return is_forgotten, _FORGOTTEN if is_forgotten else ""


_UNSAID = "The endpoint does not say what happened since."
_FORGOTTEN = "This user was forgotten: what the release has learnt before is not shown."


_COPY = """(e) => {
  const button = e.currentTarget, code = button.parentElement.nextElementSibling.textContent;
  const done = () => { button.querySelector(".q-btn__content").textContent = "copied"; };
  if (navigator.clipboard) navigator.clipboard.writeText(code).then(done);
  else {
    const area = document.createElement("textarea");
    area.value = code; document.body.appendChild(area); area.select();
    if (document.execCommand("copy")) done();
    area.remove();
  }
}"""
"""Copies the code below a button; also without the clipboard's interface, which browsers have on loopback alone."""
