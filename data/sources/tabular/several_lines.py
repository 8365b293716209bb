"""How many rows of a table span several lines, and which is the longest."""

from dataclasses import dataclass

from data.artifacts.folders import Folder
from data.sources.tabular.strict import StrictRead


@dataclass(slots=True)
class SeveralLines:
    """The rows of a table that span several lines; it is told of each file, see `data.sources.tabular.delimited.Tell`.

    Attributes:
        num_rows: number of these rows.
        longest: number of lines of the longest one.
        place: its file and the line in which it begins.
    """

    num_rows: int = 0
    longest: int = 0
    place: str = ""

    def __call__(self, file: Folder, found: StrictRead) -> None:
        self.num_rows += found.num_multi_line
        line, num_lines = found.longest
        if num_lines > self.longest:
            self.longest, self.place = num_lines, f"{file}, line {line}"

    def notes(self, side: str) -> list[str]:
        """A sentence on these rows; none if there are no such rows.

        Args:
            side: "users" or "items".
        """
        if not self.num_rows:
            return []
        return [
            f"{side}: {self.num_rows:,} rows span several lines, the longest {self.longest:,} ({self.place}): if that"
            " is no text of several lines, a stray quote there hides rows"
        ]
