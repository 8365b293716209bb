"""What the tests of sources share: tiny files to read, all rows of a log, and the public data sets where they are."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data.sources.schema import RAW_INTERACTIONS
from data.sources.source import RawLog
from tests.reporting.skipping import skip


@pytest.fixture
def rows() -> Callable[[RawLog], list[dict[str, Any]]]:
    """All interactions in the order of the log."""

    def read(log: RawLog) -> list[dict[str, Any]]:
        table = pa.concat_tables(log.interactions.iter_batches(batch_size=None, batch_format="pyarrow"))
        assert table.schema.equals(RAW_INTERACTIONS)
        return table.sort_by("position").to_pylist()

    return read


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes files by name and text, those named .gz compressed; returns their folder."""

    def write(files: dict[str, str], encoding: str = "utf-8") -> Path:
        for name, text in files.items():
            content = text.encode(encoding)
            (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return tmp_path

    return write


@pytest.fixture
def public_data() -> Callable[..., list[str]]:
    """Paths of public data sets below $DATASETS; skips the test where they are absent."""

    def find(*names: str) -> list[str]:
        paths = [Path(os.environ.get("DATASETS", "./datasets")) / name for name in names]
        if not all(path.exists() for path in paths):
            skip("there are no public data sets", "DATASETS=/where/they/lie make test")
        return [str(path) for path in paths]

    return find
