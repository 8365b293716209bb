"""The files of exposures: which users got which items, as Parquet, a folder for each run of an experiment.

    <storage>/exposures/<experiment>/<run>/experiment.json                     name, shares and beginning
                                          /<hour>/<replica>-<digits>.parquet   written by the replicas
                                          /<hour>.parquet                      an hour that is over, compacted

A run begins when an experiment begins or its shares change. Exposures of another run do not count for it: their users
were divided by other shares. Files that lie directly in `<experiment>` are of earlier versions, which did not tell runs
apart; their rows count for the run within whose time they are. Files are compacted, and forgotten users removed from
them, under the lock of `data.sources.event_log.exposures`.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import Folder
from data.artifacts.json_text import DamagedFile
from data.artifacts.records.hourly_files import ENDING, HourlyFiles, HourlyRows
from data.artifacts.records.json_files import read_json_file
from data.sources.event_log.exposures import SCHEMA as SCHEMA
from data.sources.event_log.exposures import exposure_files, exposures_folder
from data.sources.schema import DataError
from serve.experiments.assignment import Experiment

NO_ROWS = HourlyRows(SCHEMA.empty_table())

EXPERIMENT = "experiment.json"


@dataclass(frozen=True, slots=True)
class ExposureRun:
    """The exposures of one run of an experiment.

    Attributes:
        folder: of the run. It need not exist.
    """

    folder: Folder

    @classmethod
    def of(cls, storage: Folder, experiment: Experiment) -> "ExposureRun":
        """The run of a running experiment."""
        return cls(experiment_folder(storage, experiment.name) / experiment.run)

    @classmethod
    def all(cls, storage: Folder, name: str) -> list["ExposureRun"]:
        """All runs of an experiment, the oldest first."""
        folders = experiment_folder(storage, name).subfolders()
        return [cls(folder) for folder in folders if folder.exists(EXPERIMENT)]

    def experiment(self) -> Experiment:
        """What the folder says of the experiment: its name, shares and beginning.

        Raises:
            DataError: its file does not describe an experiment.
            OSError: the storage does not answer.
        """
        try:
            return read_json_file(self.folder, EXPERIMENT, self._own, "a run of an experiment")
        except DamagedFile as e:
            raise DataError(f"{e}") from e

    def _own(self, value: Any) -> Experiment:
        """The experiment that the file describes; ValueError if the folder is another run's."""
        found = Experiment.of_json(value)
        if [found.name, found.run] != self.folder.path.split("/")[-2:]:
            raise ValueError(f"it describes run {found.run} of {found.name!r}")
        return found

    @property
    def rows(self) -> HourlyFiles:
        """The files of the run."""
        return exposure_files(self.folder)

    def write(self, experiment: Experiment, file: str, exposures: pa.Table, begun: datetime | None = None) -> None:
        """Writes exposures, by SCHEMA, as a file of an hour.

        Args:
            experiment: whose run this is.
            file: its name, unique among those of all replicas.
            begun: as for `HourlyFiles.write`.
        """
        if not self.folder.exists(EXPERIMENT):
            self.folder.write_json(EXPERIMENT, asdict(experiment))
        self.rows.write(file, exposures, begun)

    def read(self) -> HourlyRows:
        """Reads all exposures of the run. A damaged file is left out and named.

        Raises:
            OSError: the storage does not answer.
        """
        return sum((self.rows.read_hour(hour) for hour in self.rows.hours()), NO_ROWS)


def experiment_folder(storage: Folder, name: str) -> Folder:
    """The folder of all runs of an experiment, whether it exists or not."""
    return exposures_folder(storage) / name


def read_earlier_layout(storage: Folder, name: str, since: str | None) -> HourlyRows:
    """Exposures that earlier versions wrote, which did not tell runs apart: those from a moment on.

    Args:
        since: ISO timestamp; None means all.
    """
    folder = experiment_folder(storage, name)
    read = exposure_files(folder).read_files([file for file in folder.names() if file.endswith(ENDING)])
    if since is None:
        return read
    begun = pa.scalar(datetime.fromisoformat(since), pa.timestamp("us", tz="UTC"))
    is_later = pc.greater_equal(read.table["time"], begun)
    return replace(read, table=read.table.filter(is_later))
