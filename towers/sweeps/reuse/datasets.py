"""The dataset of a trial: all trials of a launch with the same `data` learn from the same one."""

from data.artifacts.folders import Folder
from data.artifacts.json_text import json_text
from data.cluster.console import ProgressReporter
from data.dataset.config import DataConfig
from data.dataset.preparation import dataset_name, prepare
from data.dataset.prepared import PreparedDataset
from towers.sweeps.trial import current_trial


def dataset_of_trial(config: DataConfig, storage: Folder, progress: ProgressReporter = print) -> PreparedDataset:
    """Prepares the dataset, or opens the one that was prepared before; outside of a sweep too.

    A log may grow while a sweep runs, as that of an endpoint does. Its later trials would have another validation part
    than those that they are compared with, so all of them take the dataset that the first one has found.

    Args:
        storage: where artifacts are kept.
        progress: called with a line of text about each step.
    """
    if (trial := current_trial()) is None:
        return prepare(config, storage, progress)
    key = json_text([str(storage), config.as_json()])
    first = trial.first_dataset(key)
    if first is None or first == dataset_name(config):
        dataset = prepare(config, storage, progress, same_code=trial.same_code)
        first = trial.first_dataset(key, dataset.folder.name)
        if first is None or first == dataset.folder.name:
            return dataset
    found = PreparedDataset.open(storage / "datasets" / first)
    progress(
        f"dataset {config.name}: the log has changed since the first trial of this launch; as all trials that are"
        f" compared with it, this one learns from {found.folder}"
    )
    return found
