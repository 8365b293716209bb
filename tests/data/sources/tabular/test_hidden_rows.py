"""Two stray quotes hide no rows, whatever stands between them, and texts of several lines are read."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.sources.schema import DataError
from data.sources.tabular.delimited import delimited_blocks
from data.sources.tabular.hidden_rows import CERTAIN
from data.sources.tabular.text_stream import Delimited

Read = Callable[..., pa.Table]
CLICKS = ["user_id,item_id,time,channel", *(f"u{n % 200:05},i{n % 60:05},{1_700_000_000 + n},web" for n in range(4800))]
PRODUCTS = ["item_id,title,brand", *(f"i{n:05},Thing {n},brand{n % 5}" for n in range(60))]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads some columns of a text file with these lines."""

    def blocks(lines: list[str], columns: list[str], texts: tuple[str, ...] = ()) -> pa.Table:
        (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
        place = Folder.of(str(tmp_path / "log.csv"))
        return pa.concat_tables(delimited_blocks(place, Delimited(has_settings=True), columns, texts))

    return blocks


def changed(lines: list[str], **others: str) -> list[str]:
    """The lines with others at some places, such as at_3."""
    return [others.get(f"at_{number}", line) for number, line in enumerate(lines)]


@pytest.mark.parametrize(
    "unlike",
    [
        CLICKS[500],
        CLICKS[500] + " ",
        "",
        "u00499, i00019, 1700000499, web",
        "u00499,i00019,1700000499,web, mail",
        "guest,i00019,1700000499,web",
        "u00499,i00019,1700000499,",
    ],
)
def test_two_stray_quotes_in_a_column_that_is_not_read_hide_no_rows(read: Read, unlike: str) -> None:
    lines = changed(CLICKS, at_100=CLICKS[100].replace("web", '"web'), at_500=unlike, at_3000=CLICKS[3000] + '"')
    with pytest.raises(DataError, match=r"log\.csv: 1 rows have quotes around other rows, first .* begins in line 101"):
        read(lines, ["user_id", "item_id", "time"])


@pytest.mark.parametrize("last", [12, 13, 40])
@pytest.mark.parametrize(
    "unlike", ["", "i00010,Thing 10 ,brand0", "i00010,Thing, 10,brand0", "i00010, Thing 10,brand0", "A,Thing 10,brand0"]
)
def test_two_stray_quotes_in_titles_hide_no_rows(read: Read, unlike: str, last: int) -> None:
    spoiled = {f"at_{last}": PRODUCTS[last].replace(",brand", '",brand'), "at_11": unlike}
    lines = changed(PRODUCTS, at_10=PRODUCTS[10].replace("Thing", '"Thing'), **spoiled)
    with pytest.raises(DataError, match="1 rows have quotes around other rows, first .* begins in line 11"):
        read(lines, ["item_id", "title", "brand"], ("title",))


def test_many_rows_that_look_otherwise_do_not_acquit(read: Read) -> None:
    """Two titles of five begin with a blank, and the row with the closing quote has one value more."""
    lines = [line.replace(",", ", ", 1) if number % 5 in (1, 2) else line for number, line in enumerate(PRODUCTS)]
    lines = changed(lines, at_12=PRODUCTS[12].replace("Thing", '"Thing'), at_40='i00039,Thing, 39",brand4')
    with pytest.raises(DataError, match="1 rows have quotes around other rows, first .* begins in line 13"):
        read(lines, ["item_id", "title", "brand"], ("title",))


def test_a_stray_quote_in_the_names_of_columns_hides_no_rows(read: Read) -> None:
    lines = changed(CLICKS, at_0='user_id,item_id,time,"channel', at_3000=CLICKS[3000] + '"')
    with pytest.raises(DataError, match="1 rows have quotes around other rows, first .* begins in line 1:"):
        read(lines, ["user_id", "item_id", "time"])
    names = ['item_id,title,"Price\n(in EUR, with taxes)"', "i1,a,5"]
    assert read(names, ["item_id", "title"], ("title",)).num_rows == 1


def test_rows_hidden_among_texts_of_several_lines(read: Read) -> None:
    """A file of two columns, where most rows of several lines are texts."""
    texts = [f'i{n},"first\nsecond, with a comma\n\nthird of {n}"' for n in range(50)]
    hidden = ['i50,"a', *(f"i{n},b" for n in range(51, 51 + CERTAIN)), 'i99,c"']
    assert read(["item_id,text", *texts], ["item_id", "text"], ("text",)).num_rows == 50
    with pytest.raises(DataError, match="1 rows have quotes around other rows, first .* begins in line 202"):
        read(["item_id,text", *texts, *hidden], ["item_id", "text"], ("text",))


@pytest.mark.parametrize(
    "text",
    [
        "Good.\n\nToo small, though:\n\n5,4,3 inches\nnot 6.",
        "12 Main Street,\nSpringfield, IL 62704,\nUSA",
        "12 Main Street\nSpringfield,IL,62704\nUSA\nEarth",
        "\n\nspaced\n\n",
        "colours: red, blue\nsizes: 5, 6\nmade in: EU, CH",
        "was 12,50\nis 10,99",
        "a\n" * 500,
    ],
)
@pytest.mark.parametrize("form", ["{}", "i{}"])
@pytest.mark.parametrize("is_last", [False, True])
def test_texts_of_several_lines_are_read(read: Read, text: str, is_last: bool, form: str) -> None:
    names = ["item_id", "brand", "text"] if is_last else ["item_id", "text", "brand"]
    rows = [{"item_id": form.format(n), "brand": "B, C & D", "text": f"{text}{n}"} for n in range(3)]
    lines = [",".join(names), *(",".join(f'"{row[name]}"' for name in names) for row in rows)]
    assert read(lines, ["item_id", "brand", "text"], ("text",)).to_pylist() == rows
