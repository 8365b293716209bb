"""Plain text is divided into lines, whose numbers are those of the file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.artifacts.folders import Folder
from data.sources.schema import DataError
from data.sources.tabular import plain_lines
from data.sources.tabular.plain_lines import lines

Written = Callable[..., Path]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_lines_have_the_numbers_of_the_file(written: Written, encoding: str) -> None:
    folder = written({"a.txt": "ü a\r\n\n \t\r é b \rc\n"}, encoding)
    found = lines(Folder.of(str(folder / "a.txt")))
    assert found.text.to_pylist() == ["ü a", "é b", "c"]
    assert [found.number(index) for index in range(3)] == [1, 4, 5]
    assert lines(Folder.of(str(written({"b.txt": ""}) / "b.txt"))).text.to_pylist() == []


def test_a_file_larger_than_an_array_is_refused(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_lines, "MAX_BYTES", 5)
    file = Folder.of(str(written({"a.txt": "a b\nc d\n"}) / "a.txt"))
    with pytest.raises(DataError, match=r"a\.txt: has more than 5 bytes of text: write it as Parquet"):
        lines(file)
