"""MovieLens's and MovieTweetings' files of movies and users, in any of their three formats."""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder
from data.artifacts.records import arrow_compute as pc
from data.sources.schema import DataError
from data.sources.tabular.delimited import delimited_blocks, delimited_head
from data.sources.tabular.names_as_rows import is_name, refuse_names
from data.sources.tabular.plain_lines import Lines, lines
from data.sources.tabular.strict import MAX_SHOWN, line_of
from data.sources.tabular.text_stream import Delimited
from data.sources.values.missing import SPELLINGS, present
from data.sources.values.numbers import numbers

CSV = Delimited()
"""The layout of the releases in CSV, whose first line names the columns."""

MOVIE = ("item_id", "title", "genres")
CSV_MOVIE = {"item_id": "movieId", "title": "title", "genres": "genres"}
TWITTER_IDS = r"^[^:]+::\d*$"
AGE_GROUPS = (1, 18, 25, 35, 45, 50, 56)
MAX_AGE = 150
YEAR = r"\((?P<year>\d{4})(?:[-–]\d{0,4})?\)\s*$"
NO_GENRES = "(no genres listed)"
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip

Reader = Callable[[Folder], pa.Table | None]
"""Reads a file of movies or users; returns None if the file describes none."""


def require_names(file: Folder, layout: Delimited, names: Mapping[str, str]) -> None:
    """Refuses a file whose first line should name its columns.

    Args:
        names: the names that must be there, by the names that are used here.

    Raises:
        DataError: the line lacks one of them, or has it twice; the message has the line.
    """
    found = delimited_head(file, layout).names if layout.names is None else ()
    wrong = [name for name in names.values() if found.count(name) != 1]
    if found and wrong:
        first, due = ",".join(found)[:MAX_SHOWN], ",".join(names.values())
        raise DataError(
            f"{file}: its first line ({first!r}) does not name {', '.join(map(repr, wrong))} once, and the columns are"
            f" found by their names. If that line is a row, put {due} before it; if it has other names, rename them"
        )


def _movies(raw: pa.Table) -> pa.Table:
    """Adds `year`, from titles such as "Title (1995)", and `words`, the title; removes "(no genres listed)"."""
    year = pc.struct_field(pc.extract_regex(raw["title"], YEAR), "year")
    genres = pc.replace_substring(raw["genres"], NO_GENRES, "")
    return pa.table(
        {"item_id": raw["item_id"], "title": raw["title"], "year": year, "genres": genres, "words": raw["title"]}
    )


def _fields(found: Lines, separator: str, names: tuple[str, ...]) -> pa.Table:
    """The fields of all lines as a table of strings; its first column has ids.

    Raises:
        DataError: a line has another number of fields, or names of columns in place of values.
    """
    raw = found.table(separator, names)
    found.refuse(is_name(raw[names[0]], names[0]), "values expected in each line (remove a line of names)")
    return raw


def dat_movies(file: Folder) -> pa.Table:
    return _movies(_fields(lines(file), "::", MOVIE))


def dat_users(file: Folder) -> pa.Table | None:
    """The users of the release 1M; None for MovieTweetings, whose file of this name has Twitter ids alone."""
    found = lines(file)
    is_twitter = pc.match_substring_regex(found.text, TWITTER_IDS)
    num_twitter = pc.sum(is_twitter).as_py() or 0
    if 2 * num_twitter > len(found.text):
        found.refuse(pc.invert(is_twitter), "an id and an id of Twitter, separated by '::', expected in each line")
    if num_twitter == len(found.text):
        return None
    return _fields(found, "::", ("user_id", "gender", "age_group", "occupation", "zip"))


def csv_movies(file: Folder) -> pa.Table | None:
    require_names(file, CSV, CSV_MOVIE)
    names = list(CSV_MOVIE.values())
    blocks = list(delimited_blocks(file, CSV, names, texts=("title",)))
    if not blocks:
        return None
    raw = pa.concat_tables(blocks)
    refuse_names(raw, names, lambda row: f"{file}, line {line_of(file, CSV, row + 1)}")
    return _movies(raw.rename_columns(list(CSV_MOVIE)))


def no_users(file: Folder) -> None:
    """Returns None: the releases in CSV have no file of users."""


def item_movies(file: Folder) -> pa.Table:
    """The movies of the release 100K, whose file has a column with 0 or 1 for each genre."""
    found = lines(file)
    raw = _fields(found, "|", ("item_id", "title", "date", "video_date", "url", *GENRES_100K))
    none = pa.scalar(None, pa.string())
    for genre in GENRES_100K:
        found.refuse(pc.invert(pc.is_in(raw[genre], pa.array(["0", "1"]))), f"0 or 1 expected for {genre!r}")
    marked = [pc.if_else(pc.equal(raw[genre], "1"), genre, none) for genre in GENRES_100K]
    genres = pc.binary_join_element_wise("", *marked, "|", null_handling="skip")  # Arrow drops rows of nulls alone
    genres = pc.utf8_ltrim(genres, "|")
    return _movies(pa.table({"item_id": raw["item_id"], "title": raw["title"], "genres": genres}))


def user_users(file: Folder) -> pa.Table:
    """The users of the release 100K.

    Their ages become the age groups of the release 1M, named by their lowest age (the first one by 1). A missing age
    has no group.
    """
    found = lines(file)
    raw = _fields(found, "|", ("user_id", "age", "gender", "occupation", "zip"))
    written = present(raw["age"], SPELLINGS)
    ages = numbers(written)
    is_age = pc.fill_null(pc.and_(pc.greater_equal(ages, 0), pc.less_equal(ages, MAX_AGE)), False)
    found.refuse(
        pc.and_(pc.is_valid(written), pc.invert(is_age)), f"an age from 0 to {MAX_AGE}, or none, expected in each line"
    )
    at = np.searchsorted(AGE_GROUPS, pc.fill_null(ages, 0.0).to_numpy(), side="right") - 1
    groups = pa.array(np.array(AGE_GROUPS)[at.clip(min=0)], mask=pc.is_null(written).to_numpy())
    return raw.append_column("age_group", groups)
