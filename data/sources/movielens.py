"""The source of MovieLens releases by GroupLens and of MovieTweetings, in any of their three formats."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder
from data.artifacts.records import arrow_compute as pc
from data.sources.casts import check_head, interaction_columns, numbers
from data.sources.entities import entity_table
from data.sources.files import COMPRESSIONS, lines, located, split_lines
from data.sources.schema import DataError, Feature, FeatureKind
from data.sources.source import RawLog, SourceConfig, raw_block, read_in_parts, source
from data.sources.tabular.delimited import delimited_blocks
from data.sources.tabular.strict import line_of
from data.sources.tabular.text_stream import Delimited

RATING = ("user_id", "item_id", "weight", "time")
SAME_NAMES = {name: name for name in RATING}
MOVIE = ("item_id", "title", "genres")
AGE_GROUPS = (1, 18, 25, 35, 45, 50, 56)
YEAR = r"\((?P<year>\d{4})(?:[-–]\d{0,4})?\)\s*$"
NO_GENRES = "(no genres listed)"
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
ITEM_FEATURES = (
    Feature(name="year", kind=FeatureKind.numeric),
    Feature(name="genres", kind=FeatureKind.multi_categorical),
    Feature(name="words", kind=FeatureKind.text),
)
USER_FEATURES = (
    Feature(name="gender", kind=FeatureKind.categorical),
    Feature(name="age_group", kind=FeatureKind.categorical),
    Feature(name="occupation", kind=FeatureKind.categorical),
)


@source("movielens")
@dataclass(kw_only=True, slots=True)
class MovieLensSource(SourceConfig):
    """A folder with one release, as it was unpacked. Files in it may be compressed one by one.

    The ratings are in `ratings.dat` (1M, 10M, MovieTweetings), in `ratings.csv` (20M, 25M, 32M, latest) or in `u.data`
    (100K), beside the release's files of movies and users. Ids are kept as they are written. Files of movies and users
    (of 1M, 100K and MovieTweetings) that are not UTF-8 are read as latin-1.

    Attributes:
        path: the folder.
    """

    path: str

    def read(self) -> RawLog:
        folder = located(self.path, "data.source.path")
        release, ratings = _release(folder)
        check_head(delimited_blocks(ratings, release.layout, RATING), SAME_NAMES, str(ratings))
        users = _entities(folder, release.users, release.read_users, "user_id", USER_FEATURES)
        items = _entities(folder, release.movies, release.read_movies, "item_id", ITEM_FEATURES)
        return RawLog(
            read_in_parts([partial(_ratings, ratings, release.layout)]),
            users,
            items,
            USER_FEATURES if users is not None else (),
            ITEM_FEATURES if items is not None else (),
            str(ratings),
            locate=partial(_place, ratings, release.layout),
        )

    def files(self) -> list[str]:
        folder = located(self.path, "data.source.path")
        release, ratings = _release(folder)
        others = (_found(folder, name) for name in (release.movies, release.users))
        return [str(ratings), *(str(file) for file in others if file)]


Reader = Callable[[Folder], pa.Table | None]
"""Reads a file of movies or users; returns None if the file describes none."""


@dataclass(frozen=True, slots=True)
class _Release:
    """One of the three formats.

    Attributes:
        ratings: name of the file of ratings; its presence identifies the format.
        movies: name of the file of movies.
        users: name of the file of users.
        layout: the layout of the file of ratings.
        read_movies: reads the file of movies.
        read_users: reads the file of users.
    """

    ratings: str
    movies: str
    users: str
    layout: Delimited
    read_movies: Reader
    read_users: Reader


def _release(folder: Folder) -> tuple[_Release, Folder]:
    """The format of the release in a folder, and its file of ratings.

    Raises:
        DataError: the folder has no file of ratings.
    """
    for release in RELEASES:
        if ratings := _found(folder, release.ratings):
            return release, ratings
    names = ", ".join(release.ratings for release in RELEASES)
    raise DataError(f"data.source.path: {folder} holds none of {names} (nor one of them compressed)")


def _found(folder: Folder, name: str) -> Folder | None:
    """The file of this name, plain or compressed; None if there is neither."""
    there = [file for file in (name, *(f"{name}{ending}" for ending in COMPRESSIONS)) if folder.exists(file)]
    return folder / there[0] if there else None


def _entities(
    folder: Folder, name: str, read: Reader, id_column: str, features: tuple[Feature, ...]
) -> pa.Table | None:
    file = _found(folder, name)
    raw = read(file) if file else None
    return None if raw is None else entity_table(raw, id_column, features, str(file))


def _ratings(file: Folder, layout: Delimited) -> Iterator[pa.Table]:
    position = 0
    for block in delimited_blocks(file, layout, RATING):
        yield raw_block(**interaction_columns(block, SAME_NAMES), first_position=position)
        position += block.num_rows


def _place(file: Folder, layout: Delimited, position: int) -> str:
    return f"row {position + 1} (line {line_of(file, layout, position + 1)})"


def _movies(raw: pa.Table) -> pa.Table:
    """Adds `year`, from titles such as "Title (1995)", and `words`, the title; removes "(no genres listed)"."""
    year = pc.struct_field(pc.extract_regex(raw["title"], YEAR), "year")
    genres = pc.replace_substring(raw["genres"], NO_GENRES, "")
    return pa.table(
        {"item_id": raw["item_id"], "title": raw["title"], "year": year, "genres": genres, "words": raw["title"]}
    )


def _dat_movies(file: Folder) -> pa.Table:
    return _movies(split_lines(file, "::", MOVIE))


def _dat_users(file: Folder) -> pa.Table | None:
    """The users of the release 1M; None for MovieTweetings, whose file of this name has Twitter ids alone."""
    first = lines(file)[:1].to_pylist()
    if not first or first[0].count("::") != 4:
        return None
    return split_lines(file, "::", ("user_id", "gender", "age_group", "occupation", "zip"))


def _csv_movies(file: Folder) -> pa.Table | None:
    blocks = list(delimited_blocks(file, Delimited(names=MOVIE, skip_lines=1), MOVIE, texts=("title",)))
    return _movies(pa.concat_tables(blocks)) if blocks else None


def _no_users(file: Folder) -> None:
    """Returns None: the releases in CSV have no file of users."""


def _item_movies(file: Folder) -> pa.Table:
    """The movies of the release 100K, whose file has a column with 0 or 1 for each genre."""
    raw = split_lines(file, "|", ("item_id", "title", "date", "video_date", "url", *GENRES_100K))
    none = pa.scalar(None, pa.string())
    marked = [pc.if_else(pc.equal(raw[genre], "1"), genre, none) for genre in GENRES_100K]
    genres = pc.binary_join_element_wise(*marked, "|", null_handling="skip")
    return _movies(pa.table({"item_id": raw["item_id"], "title": raw["title"], "genres": genres}))


def _user_users(file: Folder) -> pa.Table:
    """The users of the release 100K.

    Their ages become the age groups of the release 1M, named by their lowest age (the first one by 1).
    """
    raw = split_lines(file, "|", ("user_id", "age", "gender", "occupation", "zip"))
    group = np.searchsorted(AGE_GROUPS, numbers(raw["age"]).to_numpy(), side="right") - 1
    return raw.append_column("age_group", pa.array(np.array(AGE_GROUPS)[group]))


RELEASES = (
    _Release(
        "ratings.dat",
        "movies.dat",
        "users.dat",
        Delimited(":", names=("user_id", "_1", "item_id", "_2", "weight", "_3", "time"), quote=None),
        _dat_movies,
        _dat_users,
    ),
    _Release("ratings.csv", "movies.csv", "users.csv", Delimited(names=RATING, skip_lines=1), _csv_movies, _no_users),
    _Release("u.data", "u.item", "u.user", Delimited("\t", names=RATING, quote=None), _item_movies, _user_users),
)
