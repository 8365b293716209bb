"""The source of MovieLens releases by GroupLens and of MovieTweetings, in any of their three formats."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from data.artifacts.folders import Folder
from data.sources.casts import check_head, interaction_columns
from data.sources.entities import entity_table
from data.sources.files import COMPRESSIONS, address, located
from data.sources.movielens_files.movies_and_users import (
    CSV,
    Reader,
    csv_movies,
    dat_movies,
    dat_users,
    item_movies,
    no_users,
    require_names,
    user_users,
)
from data.sources.schema import DataError, Feature, FeatureKind
from data.sources.source import RawLog, SourceConfig, raw_block, read_in_parts, source
from data.sources.tabular.delimited import delimited_blocks
from data.sources.tabular.strict import line_of
from data.sources.tabular.text_stream import Delimited

RATING = ("user_id", "item_id", "weight", "time")
SAME_NAMES = {name: name for name in RATING}
CSV_RATING = {"user_id": "userId", "item_id": "movieId", "weight": "rating", "time": "timestamp"}
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
        names = dict(release.names)
        require_names(ratings, release.layout, names)
        check_head(delimited_blocks(ratings, release.layout, list(names.values())), names, str(ratings))
        users = _entities(folder, release.users, release.read_users, "user_id", USER_FEATURES)
        items = _entities(folder, release.movies, release.read_movies, "item_id", ITEM_FEATURES)
        return RawLog(
            read_in_parts([partial(_ratings, ratings, release.layout, names)]),
            users,
            items,
            USER_FEATURES if users is not None else (),
            ITEM_FEATURES if items is not None else (),
            str(ratings),
            locate=partial(_place, ratings, release.layout),
            notes=_notes(folder, release, users),
        )

    def files(self) -> list[str]:
        folder = located(self.path, "data.source.path")
        release, ratings = _release(folder)
        others = (_found(folder, name) for name in (release.movies, release.users))
        return [address(ratings), *(address(file) for file in others if file)]

    def places(self) -> dict[str, str]:
        return {"path": self.path}


@dataclass(frozen=True, slots=True)
class _Release:
    """One of the three formats.

    Attributes:
        ratings: name of the file of ratings; its presence identifies the format.
        movies: name of the file of movies.
        users: name of the file of users.
        layout: the layout of the file of ratings.
        names: the name that the file of ratings has for each of its columns.
        read_movies: reads the file of movies.
        read_users: reads the file of users.
    """

    ratings: str
    movies: str
    users: str
    layout: Delimited
    names: Mapping[str, str]
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


def _notes(folder: Folder, release: _Release, users: pa.Table | None) -> tuple[str, ...]:
    file = _found(folder, release.users)
    return (f"{file}: no features of users are read from it",) if file and users is None else ()


def _ratings(file: Folder, layout: Delimited, names: dict[str, str]) -> Iterator[pa.Table]:
    position = 0
    for block in delimited_blocks(file, layout, list(names.values())):
        yield raw_block(**interaction_columns(block, names), first_position=position)
        position += block.num_rows


def _place(file: Folder, layout: Delimited, position: int) -> str:
    return f"row {position + 1} (line {line_of(file, layout, position + 1)})"


RELEASES = (
    _Release(
        "ratings.dat",
        "movies.dat",
        "users.dat",
        Delimited(":", names=("user_id", "_1", "item_id", "_2", "weight", "_3", "time"), quote=None),
        SAME_NAMES,
        dat_movies,
        dat_users,
    ),
    _Release("ratings.csv", "movies.csv", "users.csv", CSV, CSV_RATING, csv_movies, no_users),
    _Release(
        "u.data", "u.item", "u.user", Delimited("\t", names=RATING, quote=None), SAME_NAMES, item_movies, user_users
    ),
)
