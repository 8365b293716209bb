"""Small parts of views: texts, sections, badges and bars. Texts of the log are always text, never markup."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

NUMBER = re.compile(r"[+-]?[\d.,]*\d( ?%)?")
"""A number or a percentage as it is written for people."""


def text(tag: str, content: object, classes: str = "") -> TextElement:
    """Adds an element that shows text."""
    return TextElement(tag=tag, text=str(content)).classes(classes)


def part(tag: str, classes: str = "") -> ui.element:
    """Adds an empty element, to be filled in a `with`."""
    return ui.element(tag).classes(classes)


def labelled(tag: str, label: str, classes: str = "") -> ui.element:
    """Adds an empty element with a label for screen readers, to be filled in a `with`.

    A label with texts of others is never part of the text that `props` takes: that is parsed, and quotes in a label
    would add attributes to it, such as what the browser does on a click.
    """
    element = part(tag, classes)
    element.props["aria-label"] = label
    return element


def refilled(box: ui.element) -> ui.element:
    """Empties an element, to be filled anew in a `with`."""
    box.clear()
    return box


def panel(title: str, classes: str = "") -> ui.element:
    """Adds a section with a heading, to be filled in a `with`."""
    section = part("section", f"panel {classes}")
    with section:
        text("h2", title)
    return section


def badge(content: object, kind: str = "") -> TextElement:
    """Adds a word in a box; `kind` is one of good, bad, warn, or none."""
    return text("span", content, f"badge {kind}")


def bar(share: float, label: object, classes: str = "") -> None:
    """Adds a bar of a length between 0 and 1, with its value beside it."""
    with part("span", f"bar {classes}"):
        part("span", "bar-fill").style(f"width: {100 * min(max(share, 0.0), 1.0):.1f}%")
        text("span", label, "bar-label")


def movement(says: str, up: int) -> TextElement:
    """Adds what moved by how many ranks: up, down if negative, or not at all."""
    arrow, kind = (f"▲{up}", "up") if up > 0 else (f"▼{-up}", "down") if up < 0 else ("=", "")
    return text("span", f"{says} {arrow}", f"moved {kind}")


def note(content: object, kind: str = "note") -> TextElement:
    """Adds a remark; `kind` is note or problem. A problem is read out by screen readers."""
    element = text("p", content, kind)
    return element.props('role="alert"') if kind == "problem" else element


def table(head: Iterable[str], rows: Iterable[Iterable[Any]], caption: str = "") -> None:
    """Adds a small table; numbers and percentages stand on the right."""
    body = [list(row) for row in rows]
    with (
        labelled("div", caption or "table", "scroll").props('tabindex="0" role="region"'),
        part("table", "plain"),
    ):
        if caption:
            text("caption", caption)
        with part("thead"), part("tr"):
            for number, name in enumerate(head):
                text("th", name, _class_of(body[0][number]) if body else "").props('scope="col"')
        with part("tbody"):
            for row in body:
                with part("tr"):
                    for cell in row:
                        text("td", formatted(cell), _class_of(cell))


def _class_of(cell: Any) -> str:
    return "number" if isinstance(cell, int | float) or NUMBER.fullmatch(str(cell)) else ""


def formatted(value: Any) -> str:
    """Returns a value as text for people."""
    if value is None or value == []:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def button(label: str, act: Callable[..., Any] | None = None, says: str = "") -> ui.button:
    """Adds a button that does not stand out; `says` is what it does, where the label does not."""
    added = ui.button(label, on_click=act, color=None).props("flat dense no-caps").classes("plain-button")
    if says:
        added.props["title"] = says
    return added


def choice(label: str, options: Any, value: Any, on_change: Callable[..., Any], classes: str = "") -> ui.select:
    """Adds a select that is as high as the other controls."""
    return ui.select(options, value=value, label=label, on_change=on_change).props("outlined dense").classes(classes)
