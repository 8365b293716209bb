"""What the histories of a checkpoint hold, and what the endpoint adds to them, leave out no event."""

import pytest

from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TRAIN, VALIDATION
from data.sources.schema import SPLITS
from serve.events.state import ReleasedEvents
from towers.training.stages.measured_fit import known_splits

BOUNDARIES = {"validation_from": 500, "test_from": 900}


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"boundaries": BOUNDARIES}, (TRAIN, VALIDATION)),
        ({"boundaries": None}, (TRAIN, VALIDATION)),
        ({"boundaries": BOUNDARIES, "events_until_us": 10**15}, (TRAIN, VALIDATION)),
        ({"boundaries": None, "events_until_us": 10**15}, SPLITS),
    ],
    ids=["divided by time", "divided by user", "events divided by time", "events divided by user"],
)
def test_an_event_of_the_test_part_is_in_the_history_or_added_to_it(
    said: dict[str, object], wanted: tuple[str, ...]
) -> None:
    dataset = PreparedDataset(Folder.of("."), said)
    splits = known_splits(dataset)
    assert splits == wanted
    released = ReleasedEvents.of_dataset(dataset.events_until(*splits))
    is_in_history = "test" in splits
    assert released.has(received_us=10**14, time_us=950 * 10**6) == is_in_history
