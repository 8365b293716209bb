"""What the page reads of a sweep."""

from pathlib import Path

from serve.viewer.reading.sweeps import read_sweep
from towers.sweeps.records import Record, Records, State


def test_the_notes_of_a_leaderboard_stand_beside_it(tmp_path: Path) -> None:
    """There are the commands that publish the best point, too."""
    for number, state in enumerate((State.finished, State.lost)):
        result = {"training": {"best_value": 0.5}} if state is State.finished else None
        Records(tmp_path).add(Record(number=number, overrides=[f"seed={number}"], state=state, result=result))
    (note,) = read_sweep(tmp_path).notes
    assert note == "the mean of the best point is that of 1 of its trials alone (1 finished, 1 lost)"
