"""What commands print for people: tables and texts as they stand."""

import pytest
from rich.table import Table

from data.cluster.console import show


def test_brackets_in_values_titles_and_reasons_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """A list in a leaderboard vanished, and a reason such as the last one ended `serve.history` in a traceback."""
    table = Table(title="best of [a,b]", caption="see [/notes]")
    table.add_column("[popularity]")
    for value in ("[popularity,ease]", "no[bold]body", "rollback [/ticket/12]", ":key:"):
        table.add_row(value)
    show(table)
    shown = capsys.readouterr().out
    for value in ("best of [a,b]", "see [/notes]", "[popularity]", "[popularity,ease]", "no[bold]body", "[/ticket/12]"):
        assert value in shown
    assert ":key:" in shown
