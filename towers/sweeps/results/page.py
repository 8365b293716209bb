"""Writes a leaderboard as `leaderboard.parquet` and as `leaderboard.html`, a page that needs no other file."""

import html
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from towers.sweeps.results.leaderboard import Leaderboard

NAME = "leaderboard"

STYLE = (
    "body{font:15px system-ui;margin:2em auto;max-width:70em;padding:0 1em}table{border-collapse:collapse}"
    "td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left}img{max-width:100%}"
    "pre{background:#f4f4f4;padding:.7em;overflow-x:auto}"
)


def write_leaderboard(board: Leaderboard, folder: Path, images: dict[str, Path], commands: Sequence[str]) -> None:
    """Writes both files into the folder of a sweep.

    Args:
        images: PNG files by title.
        commands: what to run next with the best trial.
    """
    pq.write_table(board.arrow(), folder / f"{NAME}.parquet")
    (folder / f"{NAME}.html").write_text(_page(board, folder.name, images, commands))


def _page(board: Leaderboard, title: str, images: dict[str, Path], commands: Sequence[str]) -> str:
    columns, rows = board.cells()
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in board.notes)
    plots = "".join(
        f'<h2>{html.escape(name)}</h2><img alt="{html.escape(name)}" src="data:image/png;base64,'
        f'{b64encode(path.read_bytes()).decode()}">'
        for name, path in images.items()
    )
    next_steps = "".join(f"<pre>{html.escape(command)}</pre>" for command in commands)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1><table><tr>{head}</tr>{body}</table>{notes}"
        f"<h2>Next steps</h2>{next_steps}{plots}</html>\n"
    )
