"""Files of a log on any filesystem, plain or compressed: finding and opening them, and what their names say."""

import codecs
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from data.artifacts.conditional_writes import uri_of
from data.artifacts.folders import Folder
from data.sources.schema import DataError


class TableFormat(Enum):
    """The format of all files of a log."""

    parquet = "parquet"
    csv = "csv"


COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
"""The compressions of text files by the ending of a file's name, in upper or lower case."""

TEXT_ENDINGS = (".csv", ".tsv")
"""The endings of text files with columns, before that of a compression."""

TEXT_SETTINGS = ("delimiter", "encoding", "quote", "escape")
"""The settings of a source that `data.sources.tabular.text_stream.Delimited` has too."""

MAGIC = {
    rb"\x1f\x8b": "is compressed by gzip: give its name the ending .gz",
    rb"\x28\xb5\x2f\xfd": "is compressed by zstd: give its name the ending .zst",
    rb"BZh[1-9]1AY&SY": "is compressed by bzip2: give its name the ending .bz2",
    rb"\x04\x22\x4d\x18": "is compressed by lz4: give its name the ending .lz4",
    rb"PK\x03\x04": "is a zip archive (or a workbook): unpack it, or export it as CSV",
    rb"\xfd7zXZ\x00": "is compressed by xz: unpack it, or compress it by gzip or zstd",
    rb"PAR1": "is a Parquet file, not text: set data.source.format=parquet, or name it .parquet",
}
"""What the first bytes of a file say that is taken for text, with the cure."""

UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""What a file begins with that says that it is UTF-16, or UTF-32."""

FOLDER_KEY = re.compile(r"(?P<key>[^=/]+)=(?P<value>[^/]*)")
"""The name of a folder that gives a column of the files in it, as Hive and Spark write it: `dt=2024-01-01`."""

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
"""The value of such a folder that stands for null."""


def located(uri: str, setting: str) -> Folder:
    """The file or folder at `uri`.

    Args:
        setting: the config key that holds the URI, for the message.

    Raises:
        DataError: there is no such file or folder.
    """
    place = Folder.of(uri)
    if place.filesystem.get_file_info(place.path).type == fs.FileType.NotFound:
        raise DataError(f"{setting}: no file or folder {place}; set it to the place of the log")
    return place


def files_at(uri: str, setting: str) -> list[Folder]:
    """The file at `uri`, or all files in the folder at `uri`, sorted by path.

    Files and folders whose names begin with "." or "_" are left out.

    Args:
        setting: the config key that holds the URI, for the message.

    Raises:
        DataError: there is no such file or folder, or the folder has no files.
    """
    place = located(uri, setting)
    if place.filesystem.get_file_info(place.path).type == fs.FileType.File:
        return [place]
    names = [name for name in place.files() if not any(part.startswith((".", "_")) for part in name.split("/"))]
    if not names:
        raise DataError(f"{setting}: the folder {place} holds no file")
    return [place / name for name in names]


def address(file: Folder) -> str:
    """The path or URI that opens a file as it was opened: with the credentials and options of the URI of its log.

    It is for programs. In messages stands `str(file)`, which has neither.
    """
    return file.path if file.is_local else uri_of(file.path, file.uri)


def folder_values(file: Folder) -> dict[str, str | None]:
    """The columns that the names of a file's folders give: {"dt": "2024-01-01"} for `dt=2024-01-01/part-0.parquet`."""
    found = [FOLDER_KEY.fullmatch(part) for part in file.path.split("/")[:-1]]
    pairs = {unquote(match["key"]): unquote(match["value"]) for match in found if match}
    return {key: None if value == NULL_FOLDER else value for key, value in pairs.items()}


def compression_of(name: str) -> str | None:
    """How a file of this name is compressed; None if its name says nothing about it."""
    return next((kind for ending, kind in COMPRESSIONS.items() if name.lower().endswith(ending)), None)


def format_of(name: str) -> TableFormat:
    """The format of a file of this name: CSV if it ends in .csv or .tsv (or .csv.gz and the like), else Parquet."""
    return TableFormat.csv if _stem(name).endswith(TEXT_ENDINGS) else TableFormat.parquet


def is_tab_separated(name: str) -> bool:
    """Whether a file of this name has tabs between its columns."""
    return _stem(name).endswith(".tsv")


def layout_of(log: Mapping[str, Any], name: str) -> dict[str, Any]:
    """How a text file of this name is laid out that belongs to a log: as the log's own files, with tabs in a .tsv.

    Args:
        log: the settings of the log's source; those of TEXT_SETTINGS that it has are taken.
    """
    tabs = {"delimiter": "\t"} if is_tab_separated(name) else {}
    return {key: log[key] for key in TEXT_SETTINGS if key in log} | tabs


def _stem(name: str) -> str:
    """The name in lower case, without the ending of a compression."""
    stem = name.lower()
    for ending in COMPRESSIONS:
        stem = stem.removesuffix(ending)
    return stem


def opened(file: Folder) -> pa.NativeFile:
    """A stream of the file's content, decompressed if the ending of its name says so."""
    return file.filesystem.open_input_stream(file.path, compression=compression_of(file.name))


def refuse_binary(file: Folder, head: bytes) -> None:
    """Refuses a file that should be text.

    Args:
        head: its first bytes.

    Raises:
        DataError: they are those of a compressed file or of Parquet.
    """
    for magic, what in MAGIC.items():
        if re.match(magic, head):
            raise DataError(f"{file}: it {what}")


def content_of(file: Folder) -> bytes:
    """The whole content of a text file, decompressed if its name says so.

    Raises:
        DataError: the file cannot be read, or it is compressed and its name does not say so.
    """
    try:
        with opened(file) as stream:
            content = stream.read()
    except OSError as e:
        raise DataError(f"{file}: cannot be read ({e})") from e
    refuse_binary(file, content[:16])
    return content
