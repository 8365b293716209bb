"""The users whom batch inference is asked for: a table of ids, read part by part as the log is."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from data.cluster.console import ProgressReporter
from data.dataset.vocabulary import Vocabulary
from data.sources.casts import checked
from data.sources.files import TableFormat, files_at, format_of, layout_of
from data.sources.schema import DataError
from data.sources.settings import log_settings
from data.sources.source import noted
from data.sources.tabular.names_as_rows import refuse_names
from data.sources.tabular.parquet import untyped_nulls
from data.sources.tabular.pieces import Piece, by_file, pieces_of, place_in
from data.sources.tabular.several_lines import SeveralLines
from data.sources.tabular.text_stream import Delimited
from data.sources.values.columns import fitting, in_one
from data.sources.values.ids import ids
from data.sources.values.missing import present

SETTING, COLUMN = "recommend.users", "user_id"


def read_users(uri: str, source: Mapping[str, Any], progress: ProgressReporter = print) -> pa.Array:
    """Returns the distinct ids of a table of users, read as the log's ids, in the order of first occurrence.

    Rows without an id are left out and counted, and files of 0 bytes are left out. Each file may have a type of its
    own. The name of the first file says the format: .csv and .tsv, also with the ending of a compression, are text, all
    others Parquet.

    Args:
        uri: The file, or a folder of files.
        source: The settings of the source that the release's log was read by, such as its spellings of missing values;
            those of the log from before, where the events of an endpoint came after one.
        progress: Takes a line about the rows without an id, and one about rows of several lines, if there are any.

    Raises:
        DataError: It cannot be read, has no column `user_id`, the column has ids of another type, or none.
    """
    log, name = log_settings(source), files_at(uri, SETTING)[0].name
    layout = None
    if format_of(name) is TableFormat.csv:
        layout = Delimited(**layout_of(log, name))
    found, of_several_lines = [], SeveralLines()
    for pieces in by_file(pieces_of(uri, SETTING, [COLUMN], layout)):
        blocks = [block for piece in pieces for block in piece.blocks([COLUMN], of_several_lines)]
        whole = pa.concat_tables(blocks)
        refuse_names(whole, [COLUMN], partial(_place, pieces))
        column = present(untyped_nulls(whole)[COLUMN], log.get("missing", ()))
        found += checked(ids, column, f"{SETTING}: {pieces[0].file}, column {COLUMN!r}").chunks
    rows = fitting(*found)
    users = in_one(rows.drop_null().unique())
    if not len(users):
        raise DataError(f"{SETTING}: {uri} names no user in its column {COLUMN}")
    if rows.null_count:
        progress(
            f"recommend: {rows.null_count:,} of {len(rows):,} rows are left out, whose {COLUMN} is blank or spelled as"
            " a missing value of the log"
        )
    for note in of_several_lines.notes("users"):
        progress(f"recommend: {noted(note)}")
    return users


def _place(pieces: Sequence[Piece], row: int) -> str:
    return f"{SETTING}: {place_in(pieces, row)}"


def report_unknown(known: Vocabulary, user_ids: pa.Array, release_id: str, progress: ProgressReporter) -> None:
    """Says how many users the release does not know, if there are any."""
    unknown = user_ids.filter(pa.array(known.rows(user_ids) == 0))
    if len(unknown):
        progress(
            f"recommend: {len(unknown):,} of {len(user_ids):,} users are unknown to release {release_id}, such as"
            f" {unknown[0].as_py()!r}: they get popular items"
        )
