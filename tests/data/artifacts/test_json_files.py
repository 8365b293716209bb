"""JSON files in storage that are cut or hold something else: the error names the file, what is wrong, and the cure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data.artifacts.folders import Folder
from data.artifacts.json_text import DamagedFile, mapping
from data.artifacts.records.json_files import read_json_file, read_or_left_out
from data.artifacts.structured import known_fields
from data.sources.event_log.files import UNTIL, EventLog

DAMAGES = [b"", b"  ", b"{", b"\xff", b"[" * 5_000, b"[]", b"5"]


@pytest.mark.parametrize("content", DAMAGES, ids=range(len(DAMAGES)))
def test_the_error_names_the_file_and_the_cure(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Folder.of(str(tmp_path))
    folder.write_bytes("x.json", content)
    with pytest.raises(DamagedFile, match=rf"^{tmp_path}/x\.json: not a list of cures \([^)]+.*\); write it again$"):
        read_json_file(folder, "x.json", mapping, "a list of cures", "write it again")
    assert read_or_left_out(folder, "x.json", mapping, "a list of cures") is None
    assert f"left out: {tmp_path}/x.json: not a list of cures" in caplog.text


def test_a_file_that_is_gone_is_not_damaged(tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        read_json_file(folder, "x.json", mapping, "a list of cures")
    assert read_or_left_out(folder, "x.json", mapping, "a list of cures") is None


@dataclass
class Of:
    """A file's content."""

    name: str
    share: float = 0.5
    count: int = 0
    held: dict[str, float] | None = None
    names: list[str] | None = None
    value: Any = None


@pytest.mark.parametrize("value", [{"share": 1}, {"held": {"a": 1, "b": 0.5}}, {"names": ["a"]}, {"value": [None]}])
def test_values_of_their_fields_types_are_taken(value: dict[str, Any]) -> None:
    assert known_fields(Of, value | {"later": 1}, {}) == value


@pytest.mark.parametrize(
    "value", [{"name": None}, {"share": "1"}, {"share": True}, {"count": 1.5}, {"held": [1]}, {"names": [1]}]
)
def test_values_of_other_types_are_refused_by_name(value: dict[str, Any]) -> None:
    (name,) = value
    with pytest.raises(TypeError, match=f"^{name} is "):
        known_fields(Of, value, {})


@pytest.mark.parametrize("content", [*DAMAGES, b'{"received_us": null}'], ids=range(len(DAMAGES) + 1))
def test_until_when_the_log_is_complete_is_not_guessed(tmp_path: Path, content: bytes) -> None:
    log = EventLog.of(Folder.of(str(tmp_path)))
    log.folder.create().write_bytes(UNTIL, content)
    with pytest.raises(DamagedFile, match=rf"{UNTIL}: not the time .*; remove it: the next compaction writes it again"):
        log.until_us  # noqa: B018
    with pytest.raises(DamagedFile, match=UNTIL):
        log.set_until(5)
