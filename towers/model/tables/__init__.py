"""Where the rows of embedding tables are kept, by the name that `model.tables` gives it: one file for each way.

The towers ask a table for the vectors of rows, and do not know where these lie.
"""

from typing import TYPE_CHECKING

from data.artifacts.registry import Registry

if TYPE_CHECKING:
    from towers.model.tables.table import Table

TABLES: Registry["type[Table]"] = Registry("model.tables", __name__)
