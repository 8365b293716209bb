"""The times of histories come from the dataset of a release, and are not known where that is another, or gone."""

import numpy as np

from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TRAIN, VALIDATION
from serve.viewer.reading.times import HistoryTimes


def test_times_of_a_history(dataset: PreparedDataset) -> None:
    history, reader = dataset.sequences(TRAIN, VALIDATION), HistoryTimes(dataset.folder, dataset.fingerprint)
    table = dataset.interactions(TRAIN, VALIDATION, columns=["user_row", "time"])
    longest = int(np.argmax(history.lengths_U))
    wanted = sorted(table["time"].to_numpy()[table["user_row"].to_numpy() == longest])
    found = reader.of_user(longest, history.of_user(longest))
    assert [at.timestamp() for at in found] == wanted


def test_another_history_has_no_times(dataset: PreparedDataset) -> None:
    history, reader = dataset.sequences(TRAIN), HistoryTimes(dataset.folder, dataset.fingerprint)
    longest = int(np.argmax(history.lengths_U))
    assert reader.of_user(longest, history.of_user(longest)[::-1]) == []
    assert reader.of_user(0, history.of_user(longest)) == []


def test_nothing_is_known_of_another_dataset(dataset: PreparedDataset) -> None:
    rows = dataset.sequences(TRAIN).of_user(1)
    assert HistoryTimes(dataset.folder, "another").of_user(1, rows) == []
    assert HistoryTimes(Folder.of("/nowhere"), dataset.fingerprint).of_user(1, rows) == []
