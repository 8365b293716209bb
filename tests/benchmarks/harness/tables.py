"""What every benchmark leaves behind: a table for people, Markdown and JSON under var/bench."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path("var/bench")


def write(
    name: str,
    title: str,
    facts: Mapping[str, object],
    rows: Sequence[Mapping[str, object]],
    ratios: Mapping[str, float | None],
    console: Console,
) -> None:
    """Prints `rows` and `ratios`, and writes them as <name>.md and <name>.json; the ratios are flat keys there."""
    columns = list(rows[0])
    table = Table(title=title, caption=", ".join(f"{key} {value}" for key, value in facts.items()))
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(_formatted(row[column]) for column in columns))
    console.print(table)
    console.print({key: None if value is None else round(value, 4) for key, value in ratios.items()})
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps({**facts, **ratios, "rows": list(rows)}, indent=2) + "\n")
    (FOLDER / f"{name}.md").write_text(_markdown(title, facts, columns, rows, ratios))


def _markdown(
    title: str,
    facts: Mapping[str, object],
    columns: Sequence[str],
    rows: Sequence[Mapping[str, object]],
    ratios: Mapping[str, float | None],
) -> str:
    lines = [f"# {title}", "", ", ".join(f"{key} {value}" for key, value in facts.items()), ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_formatted(row[column]) for column in columns) + " |" for row in rows]
    lines += ["", *(f"- {key}: {_formatted(value)}" for key, value in ratios.items())]
    return "\n".join(lines) + "\n"


def _formatted(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)
