"""Texts of others never become attributes of the page's elements."""

import ast
from pathlib import Path

from nicegui import Client, ui

from serve.viewer.parts.elements import labelled, table

VIEWER = Path(__file__).parents[3] / "serve" / "viewer"

ACTS = '" :title="window.hacked = 1, 0" onclick="window.hacked = 1" a="'


def test_a_label_stays_a_label() -> None:
    with Client(ui.page("/")):
        assert dict(labelled("div", ACTS).props) == {"aria-label": ACTS}
        with ui.element() as box:
            table(("what",), [("it",)], ACTS)
        region = box.default_slot.children[0]
        assert dict(region.props) == {"tabindex": "0", "role": "region", "aria-label": ACTS}


def test_attributes_given_as_text_are_constant() -> None:
    """`props` parses what it is given, so that nothing may be put into it."""
    for path in VIEWER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "props":
                assert all(isinstance(given, ast.Constant) for given in node.args), f"{path.name}:{node.lineno}"
