"""Text files with columns: every row is read, none is invented, and what cannot be read is named with its line."""

import bz2
import csv as standard
import gzip
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.artifacts.folders import Folder
from data.sources.schema import DataError
from data.sources.tabular.delimited import BLOCK_BYTES, HEADER_BYTES, Head, delimited_blocks, delimited_head
from data.sources.tabular.strict import line_of
from data.sources.tabular.text_stream import Delimited

Read = Callable[..., pa.Table]


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Folder]:
    def write(content: str | bytes, name: str = "log.csv") -> Folder:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return Folder.of(str(tmp_path / name))

    return write


@pytest.fixture
def read(file: Callable[..., Folder]) -> Read:
    """Reads all columns, or those named, of a text file with this content."""

    def blocks(content: str | bytes, columns: Any = None, texts: Any = (), name: str = "log.csv", **layout: Any) -> Any:
        place, shape = file(content, name), Delimited(has_settings=True, **layout)
        names = columns or delimited_head(place, shape).names
        return pa.concat_tables(delimited_blocks(place, shape, names, texts))

    return blocks


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("shift", range(-3, 4))
def test_a_quoted_line_break_at_the_edge_of_a_block(read: Read, line_break: str, shift: int) -> None:
    rows = "".join(f'i{n},"{"x" * 2000}"\n' for n in range(BLOCK_BYTES // 2010))
    before = f"item,text\n{rows}i-edge,"
    text = "z" * (BLOCK_BYTES - len(before) - 1 - len(line_break) + shift) + line_break + "phantom,rest"
    found = read(f'{before}"{text}"\nlast,"tail"\n', texts=["text"])
    assert found.num_rows == BLOCK_BYTES // 2010 + 2
    assert found["item"][-2].as_py() == "i-edge"
    assert found["text"][-2].as_py() == text


def test_texts_of_several_lines_are_those_of_a_parquet_file(read: Read, tmp_path: Path) -> None:
    """10,000 texts of 2 to 3 kB, which fill several blocks: pyarrow alone gets out of step with them."""
    draw = random.Random(0)
    pieces = ["some words, ", 'a "quoted" word', "\n", "\r\n", "é" * 7, "x" * 190]
    texts = ["".join(draw.choice(pieces) for _ in range(40)) + "." for _ in range(10_000)]
    table = pa.table({"item": [f"i{n}" for n in range(len(texts))], "text": texts})
    pq.write_table(table, tmp_path / "items.parquet")
    content = io.StringIO(newline="")
    standard.writer(content, quoting=standard.QUOTE_ALL).writerows(
        [table.column_names, *zip(*table.to_pydict().values(), strict=True)]
    )
    assert read(content.getvalue(), texts=["text"]).equals(pq.read_table(tmp_path / "items.parquet"))


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ('u,t,c\n1,5,"app\n2,6,app\n', "utc", "a quote in the row that begins in line 2 is never closed"),
        ('u,t,c\n1,5,app\n2,6,"app', "ut", "a quote in the row that begins in line 3 is never closed"),
        ('u,t,"c\n1,5,app\n2,6,app\n', "utc", "a quote in the row that begins in line 1 is never closed"),
        ('u,t,c\n1,5,"app\n2,6,"app\n', "ut", "text stands behind the closing quote .* begins in line 2"),
        ('u,t,c\n1,5,"a" b\n', "utc", "text stands behind the closing quote .* begins in line 2"),
        ('i,t\ni1,"a\ni2,b\ni3,c"\ni4,d\n', "i", "1 rows have quotes around other rows, first .* line 2"),
        ('u,t,c\n1,5,"app\n2,6,app"\n3,7,app\n', "ut", "1 rows have quotes around other rows, first .* line 2"),
        ('i,b,t\ni1,3M,"a\ni2,C & A,b\ni3,Loreal,c"\n', "ib", "1 rows have quotes around other rows, first .* line 2"),
        ('u,t,c\n1,5,"\n2,6,app\n3,7,"\n', "ut", "1 rows have quotes around other rows, first .* line 2"),
        ('u,t,c\n1,5,app\n2,"6\n",app\n', "utc", "column 't' holds a line break in 1 of 2 rows, first .* line 3"),
        (
            'u,t,c\n1,5,"a\nb"\n2,6\n3,7,c,d\n',
            "ut",
            r"2 rows do not have 3 columns, first the one in line 4, .* 2 \('2,6'\)",
        ),
        ("u,t,c\n\n1,5,6,7\n", "utc", r"1 rows do not have 3 columns, first the one in line 3, .* 4 \('1,5,6,7'\)"),
        ('u;t;c\n1;5;"\\"Pan\\" Peter"\n', "utc", r"behind the closing quote .* line 2.* data\.source\.escape='\\'"),
        ('u;t;c\n1;5;"Say \\"hi; there\\""\n', "utc", r"data\.source\.escape='\\'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(read: Read, content: str, columns: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"log\.csv: .*{message}"):
        read(content, list(columns), delimiter=";" if ";" in content else ",")


@pytest.mark.parametrize(
    ("content", "columns", "rows"),
    [
        ('i,t\n1,"a\n\nb"\n\n2,c\n', "it", [("1", "a\n\nb"), ("2", "c")]),  # empty lines in a value and between rows
        ('i,t\r\n1,"a\r\nb"\r\n2,"c"\r\n', "it", [("1", "a\r\nb"), ("2", "c")]),
        ("i,t\r1,a\r2,b\r", "it", [("1", "a"), ("2", "b")]),
        ('i,t\n1,5" pipe\n2,"5"" pipe"\n', "it", [("1", '5" pipe'), ("2", '5" pipe')]),
        ('i,t\n1,"C:\\"\n', "it", [("1", "C:\\")]),
        ('i,t,d\n1,a,"Buy now, or\nlater, or never"\n', "i", [("1",)]),  # prose in a column that is not read
        ('i,t\n1,"and, so\non"\n2,"a\nb,c"\n3,"d\ne"\n4,"f\ng"\n', "it", None),
        ("\ufeffi,t\n1,a", "it", [("1", "a")]),
        ("i,t\n1,\n", "it", [("1", None)]),
    ],
)
def test_sound_files_are_read(read: Read, content: str, columns: str, rows: list | None) -> None:
    found = read(content, list(columns), texts=["t"])
    if rows is None:
        assert found.num_rows == 4
    else:
        assert list(zip(*found.to_pydict().values(), strict=True)) == rows


def test_quotes_may_be_escaped_or_be_text(read: Read) -> None:
    books = 'isbn;title\n1;"Peter \\"Pan\\""\n2;"Say \\"hi; there\\" now"\n3;"a\\\\b"\n'
    titles = ['Peter "Pan"', 'Say "hi; there" now', "a\\b"]
    assert read(books, delimiter=";", escape="\\")["title"].to_pylist() == titles
    assert read('i\tt\n1\t"a\n2\tb\n', delimiter="\t", quote=None)["t"].to_pylist() == ['"a', "b"]
    assert read("i,t\n1,'a,b'\n", quote="'")["t"].to_pylist() == ["a,b"]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n"])
def test_a_header_alone_has_no_rows(file: Callable[..., Folder], end: str) -> None:
    assert delimited_head(file(f"a,b{end}"), Delimited()) == Head(("a", "b"), False)
    assert list(delimited_blocks(file(end), Delimited(), ["a"])) == []
    assert delimited_head(file(end), Delimited()) == Head((), False)


def test_a_first_row_that_is_longer_than_what_is_read_for_the_names(read: Read) -> None:
    text = "line\n" * HEADER_BYTES
    assert read(f'i,t\n1,"{text}"\n', texts=["t"])["t"].to_pylist() == [text]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-16-le", "utf-8-sig", "utf-8", "UTF8"])
def test_encodings(read: Read, encoding: str) -> None:
    content = 'ïd,text\r\n1,"Müll\r\nérable"\r\n2,ü\r\n'
    found = read(content.encode(encoding), texts=["text"], encoding=encoding)
    assert found.to_pydict() == {"ïd": ["1", "2"], "text": ["Müll\r\nérable", "ü"]}


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        ("a,b\n1,x\n2,é\n".encode("cp1252"), "utf-8", "byte 0xe9 in line 3 is not utf-8 .* set data.source.encoding"),
        ("a,bé\n1,x\n".encode("cp1252"), "utf-8", "byte 0xe9 in line 1 is not utf-8 .* set data.source.encoding"),
        ("a,b\n1,é\n".encode(), "ascii", "byte 0xc3 in line 2 is not ascii .* set data.source.encoding"),
        ("a,b\n1,é\n".encode("utf-16"), "utf-8", "byte 0xff in line 1 is not utf-8 .* such as utf-16"),
        (
            b"a,b\n1,x\n",
            "utf-16",
            "it is not utf-16, by what begins in line 1 .*BOM.* encoding, such as utf-8, or to utf-16-le",
        ),
        (
            "a,b\n1,x\n".encode("utf-16-be"),
            "utf-16",
            "it is not utf-16, .* or to utf-16-le or utf-16-be if only the byte",
        ),
        (b"a,b\n1,x\n", "utf-32", "byte 0x61 in line 1 is not utf-32 "),
        (b"a,b\n" + b"1,x\n" * 3_000_000 + b"2,\xe9\n", "utf-8", "byte 0xe9 in line 3000002 is not utf-8"),
    ],
)
def test_a_wrong_byte_is_named(read: Read, content: bytes, encoding: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"log\.csv: {message}"):
        read(content, encoding=encoding)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"a,b\n1,2\n"), r"is compressed by gzip: give its name the ending \.gz"),
        (bz2.compress(b"a,b\n1,2\n"), r"is compressed by bzip2"),
        (bytes(pa.compress(b"a,b\n1,2\n", "zstd", asbytes=True)), r"is compressed by zstd"),
        (b"PAR1", r"is a Parquet file, .* data\.source\.format=parquet"),
        (b"PK\x03\x04...", "is a zip archive"),
    ],
)
def test_binary_files_are_named(read: Read, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"log\.csv: it {message}"):
        read(content)


def test_compressed_files(read: Read) -> None:
    content, expected = b"a,b\n1,2\n", {"a": ["1"], "b": ["2"]}
    for name in ("x.CSV.GZ", "x.gz"):
        assert read(gzip.compress(content), name=name).to_pydict() == expected
    assert read(bytes(pa.compress(content, "zstd", asbytes=True)), name="x.csv.Zst").to_pydict() == expected
    with pytest.raises(DataError, match=r"x\.gz: cannot be read .*compressed by gzip as its name says"):
        read(content, name="x.gz")
    with pytest.raises(DataError, match=r"x\.gz: cannot be read .*is it whole"):
        read(gzip.compress(content * 1000)[:-9], name="x.gz")


def test_the_line_of_a_row(file: Callable[..., Folder]) -> None:
    place = file('a,b\n1,"x\ny"\n\n2,3,4\n5,6\n')
    assert [line_of(place, Delimited(), row) for row in (1, 2, 3)] == [2, 6, None]


def test_pyarrow_and_the_standard_library_agree(read: Read) -> None:
    """Random files of quotes, delimiters and line breaks: what is accepted has the rows of the strict reader."""
    draw, accepted = random.Random(1), 0
    for _ in range(1500):
        content = "a,b\n" + "".join(draw.choice(['"', '"', ",", ",", "\n", "\r\n", "x", '""']) for _ in range(12))
        try:
            found = read(content, texts=["a", "b"])
        except DataError:
            continue
        accepted += 1
        strict = [row for row in standard.reader(io.StringIO(content, newline=""), strict=True) if row][1:]
        assert [[v or "" for v in row.values()] for row in found.to_pylist()] == strict, content
    assert accepted > 50
