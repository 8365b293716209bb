"""Values that are not what their writer meant are named with their line: escapes, quotes behind spaces, wrong bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.sources.casts import value_sets
from data.sources.schema import DataError
from data.sources.tabular.delimited import delimited_blocks, delimited_head
from data.sources.tabular.strict import StrictRead
from data.sources.tabular.text_stream import Delimited
from data.sources.values.numbers import vectors

Read = Callable[..., pa.Table]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads all columns, or those named, of a text file with this content."""

    def blocks(content: str | bytes, columns: Any = None, texts: Any = (), tell: Any = None, **layout: Any) -> Any:
        (tmp_path / "log.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        place, shape = Folder.of(str(tmp_path / "log.csv")), Delimited(has_settings=True, **layout)
        names = columns or delimited_head(place, shape).names
        return pa.concat_tables(delimited_blocks(place, shape, names, texts, tell))

    return blocks


@pytest.mark.parametrize("shift", range(4))
def test_an_escape_before_a_character_that_needs_none_is_kept(read: Read, shift: int) -> None:
    """Parsers drop it, and "\\N", which means that there is no value, would be an "N"; also at the edge of a block."""
    many = "\\N,\\N\n" * 200_000 + "x" * shift + ",\\N\n"
    found = read(f'a,b\n{many}a\\\\N,"\\N"\nx|\\N,\\N', escape="\\")
    assert found["a"].value_counts().to_pylist()[0] == {"values": "\\N", "counts": 200_000}
    assert found["a"].to_pylist()[-3:] == ["x" * shift or None, "a\\N", "x|\\N"]
    assert set(found["b"].to_pylist()) == {"\\N"}


@pytest.mark.parametrize("value", ["\\n", "a\\tb", "\\0", "a\\N", "\\\\\\n", '"a\\n"'])
def test_an_escape_that_stands_for_another_character_is_refused(read: Read, value: str) -> None:
    content = f"a,b\nx,\\N\n\ny,{value}\n"
    with pytest.raises(DataError, match=r"log\.csv: column 'b' has .* 1 of 2 rows, first .* line 4 .*source\.escape"):
        read(content, escape="\\")
    assert read(content, ["a"], escape="\\")["a"].to_pylist() == ["x", "y"]


def test_a_quote_behind_white_space_is_refused(read: Read) -> None:
    content = 'u,i,t\nu1,i6,1\nu1, "i6",2\nu1,"i6",3\n'
    with pytest.raises(DataError, match=r"log\.csv: column 'i' has white space .* in 1 of 3 rows, first .* line 3 "):
        read(content)
    assert read(content, ["u", "t"])["t"].to_pylist() == ["1", "2", "3"]
    assert read(content, texts=["i"])["i"].to_pylist() == ["i6", ' "i6"', "i6"]
    assert read(content, quote=None)["i"].to_pylist() == ["i6", ' "i6"', '"i6"']


@pytest.mark.parametrize("first", ["", "u1,i1,1\n"])
def test_a_wrong_byte_in_a_row_with_too_many_values(read: Read, capfd: pytest.CaptureFixture[str], first: str) -> None:
    content = f"u,i,t\n{first}u3,{'x' * 80}é,i4,5\n".encode("cp1252")
    with pytest.raises(DataError, match=r"log\.csv: byte 0xe9 in line \d is not utf-8 .* set data\.source\.encoding"):
        read(content)
    assert capfd.readouterr().err == ""
    assert read("u,i,t\nu3,é,5\n".encode("cp1252"), ["u", "t"])["t"].to_pylist() == ["5"]


def test_a_list_in_brackets_may_have_several_lines(read: Read) -> None:
    """NumPy breaks the lines of a list that has more than 75 characters, and pandas writes it so."""
    lists = [str(np.linspace(number, number + 1, 64, dtype=np.float32)) for number in range(3)]
    told: list[StrictRead] = []
    content = "".join(f'{number},"{text}",{number}\n' for number, text in enumerate(lists))
    found = read(f"item_id,vector,n\n{content}", tell=lambda _, strict: told.append(strict))
    assert lists[0].count("\n") > 5
    assert found["vector"].to_pylist() == lists and found["n"].to_pylist() == ["0", "1", "2"] and not told
    assert np.allclose(vectors(found["vector"], "|").to_pylist()[2], np.linspace(2, 3, 64))
    sets = value_sets(read("i,tags\n1,\"['a'\n 'b']\"\n")["tags"], "|")
    assert sets.to_pylist() == [["a", "b"]]


@pytest.mark.parametrize(
    "content",
    ['i,v\n1,"[1 2]\n2,[3 4]\n3,[5 6]"\n', 'i,v\n1,"[1 2\n2,3 4\n', 'i,v\n1,"1 2\n3"\n'],
)
def test_a_quote_that_is_not_closed_behind_a_list_is_refused(read: Read, content: str) -> None:
    """A line break is a part of the list within its brackets alone."""
    with pytest.raises(DataError, match=r"log\.csv: .*(line break|around other rows|never closed)"):
        read(content)
