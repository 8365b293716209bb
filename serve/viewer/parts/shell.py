"""What surrounds every view: the head of the page with the links to the views, light and dark, and the style."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from fastapi import Request
from nicegui import ui

from serve.viewer.parts.elements import button, note, part, text

STYLE = Path(__file__).with_name("style.css")

VIEWS = {
    "/": "Answers",
    "/side-by-side": "Side by side",
    "/items": "Items",
    "/releases": "Releases",
    "/live": "Live",
    "/sweeps": "Sweeps",
}
"""The address and the title of each view."""

DARK_COOKIE = "twotower_dark"

TOGGLE = f"""() => {{
  const dark = !document.body.classList.contains("body--dark");
  document.cookie = `{DARK_COOKIE}=${{dark ? 1 : 0}}; path=/; max-age=31536000; samesite=strict`;
  location.reload();
}}"""


Begins = Callable[[Callable[[], Awaitable[None]]], None]


@contextmanager
def shell(path: str) -> Iterator[Begins]:
    """Adds the head of the page; the block fills the view.

    Yields:
        What takes a function that the view begins with, once the browser shows it.
    """
    ui.on_exception(lambda e: ui.notify(f"This did not work: {e}", type="negative", multi_line=True))
    chosen = ui.context.client.request.cookies.get(DARK_COOKIE)
    ui.dark_mode({"0": False, "1": True}.get(chosen or ""))
    ui.page_title(f"{VIEWS[path]} · two-tower")
    ui.colors(primary="#1d5fa8")
    ui.add_css(STYLE.read_text())
    with ui.header(fixed=False, wrap=False).classes("head"):
        text("span", "two-tower", "brand")
        with part("nav", "views").props('aria-label="views"'):
            for address, title in VIEWS.items():
                link = text("a", title)
                link.props["href"] = address
                if address == path:
                    link.classes("here").props('aria-current="page"')
        button("light / dark").on("click", js_handler=TOGGLE)
    with part("div", "view") as view:
        text("h1", VIEWS[path])
        yield lambda start: _begin(view, start)
    ui.skip_link(target=view)


class View(Protocol):
    """One open view, whose parts are there once it is made."""

    async def start(self) -> None:
        """Fills the parts; runs once the browser shows them."""
        ...


def put(path: str, view: Callable[[Mapping[str, str]], View]) -> None:
    """Puts a view at its address; it is made of the parameters of the address."""

    @ui.page(path)
    async def show(request: Request) -> None:
        with shell(path) as begins:
            begins(view(request.query_params).start)


def _begin(view: ui.element, start: Callable[[], Awaitable[None]]) -> None:
    async def begin() -> None:
        try:
            await start()
        except Exception as e:
            with view:
                note(f"This view cannot be shown: {e}", "problem")
            raise  # NiceGUI logs it

    ui.timer(0, begin, once=True)
