"""Whether a row of several lines seems to hide other rows: two stray quotes make one value of all that is between."""

from collections.abc import Collection, Sequence

MANY = 3
"""If so many lines look like rows, the last one need not."""

CERTAIN = 10
"""In a file of two columns, fewer lines may look like rows by accident."""

NEUTRAL = frozenset("-_.")
"""Characters that only some of the ids or numbers of a column may have."""


def num_hidden_rows(values: Sequence[str], delimiter: str, num_columns: int, single: Collection[int] | None) -> int:
    """How many lines of a row look like rows of their own; 0 if the row seems to hold a text of several lines.

    A line looks like a row if it has as many values as there are columns. In one of the columns in `single`, such as
    the id, its value has the same kinds of characters (digits, letters, others) as the row's own. No other value begins
    with white space unless the row's own does, since prose has white space behind its commas; where several columns
    are single and all agree, white space says nothing.

    More than half of the lines must look like rows, so that a few that do not acquit none. So must the last line, with
    which the row ends, unless MANY others do. Two lines of two columns may look like rows by accident, so they do not
    count. Blank lines say nothing.

    Args:
        values: the row's values; one of them has several lines.
        single: the columns that can have no line breaks. None means that the row names the columns, so that it is not
            of the kind of other rows.
    """
    text = delimiter.join(values).replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.split(delimiter) for line in text.split("\n") if line.strip()]
    columns = (0,) if single is None else tuple(single)
    if num_columns < 2 or len(lines) < 2 or not columns:
        return 0
    first, *others = lines
    agreeing = [_agreeing(line, values, single) if len(line) == num_columns else columns[:0] for line in others]
    column = max(columns, key=lambda column: sum(column in found for found in agreeing))
    looks = [column in found for found in agreeing]
    count = sum(looks)
    is_most = 2 * (count + (len(first) == num_columns)) > len(lines)
    is_enough = count >= MANY or (looks[-1] and (num_columns > 2 or count > 1))
    return count if is_most and is_enough else 0


def _agreeing(line: Sequence[str], values: Sequence[str], single: Collection[int] | None) -> tuple[int, ...]:
    """The columns in which a line looks like the row; none if it looks like prose."""
    is_prose = any(
        value[:1].isspace() and not own[:1].isspace() for value, own in zip(line[1:], values[1:], strict=True)
    )
    if single is None:
        return () if is_prose else (0,)
    found = tuple(at for at in single if _characters(line[at]) == _characters(values[at]))
    return () if is_prose and not (len(found) == len(single) > 1) else found


def _characters(value: str) -> frozenset[str]:
    kinds = ("0" if c.isdigit() else "a" if c.isalpha() else c for c in value.strip())
    return frozenset(kinds) - NEUTRAL
