"""The files of exposures: which users got which items, as Parquet, a folder for each run of an experiment.

    <storage>/exposures/<experiment>/<run>/experiment.json                     name, shares and beginning
                                          /<hour>/<replica>-<digits>.parquet   written by the replicas
                                          /<hour>.parquet                      an hour that is over, compacted

A run begins when an experiment begins or its shares change. Exposures of another run do not count for it: their users
were divided by other shares. Files that lie directly in `<experiment>` are of earlier versions, which did not tell runs
apart; their rows count for the run within whose time they are.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import Folder
from data.artifacts.json_text import json_text
from serve.experiments.assignment import Experiment

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", tz="UTC")),
        ("request_id", pa.string()),
        ("user", pa.string()),  # keyed hash (serve.observability.logs); null for a request without a user
        ("experiment", pa.string()),
        ("variant", pa.string()),
        ("release_id", pa.string()),
        ("degraded", pa.bool_()),
        ("failed", pa.bool_()),  # the request raised an error and has no answer
        ("took_ms", pa.float32()),
        ("item_ids", pa.list_(pa.string())),
    ]
)

ENDING = ".parquet"
COMPACTED = b"compacted"
"""Key of the metadata of a compacted file; its value is a JSON list of the files whose rows it has."""

EXPERIMENT = "experiment.json"

GRACE = timedelta(minutes=10)
"""An hour is compacted when it has been over for this long: by then no replica writes to it any more."""


@dataclass(frozen=True, slots=True)
class ExposureRows:
    """Exposures that were read.

    Attributes:
        table: the rows, by SCHEMA.
        files: the files that were read or found damaged, by their paths in the folder.
        damaged: a sentence for each file that could not be read, and is left out.
    """

    table: pa.Table = field(default_factory=SCHEMA.empty_table)
    files: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Folder, files: Sequence[str]) -> "ExposureRows":
        """Reads files of a folder.

        Raises:
            FileNotFoundError: one is gone.
            OSError: the storage does not answer.
        """
        read = [read_file(folder, file) for file in files]
        tables = [found for found in read if isinstance(found, pa.Table)]
        damaged = tuple(found for found in read if isinstance(found, str))
        return cls(pa.concat_tables([SCHEMA.empty_table(), *tables]), tuple(files), damaged)

    def __add__(self, other: "ExposureRows") -> "ExposureRows":
        table = pa.concat_tables([self.table, other.table])
        return ExposureRows(table, self.files + other.files, self.damaged + other.damaged)


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
        """What the folder says of the experiment: its name, shares and beginning."""
        return Experiment(**self.folder.read_json(EXPERIMENT))

    def write(self, experiment: Experiment, file: str, exposures: pa.Table) -> None:
        """Writes exposures, by SCHEMA, as a file of the present hour.

        Args:
            experiment: whose run this is.
            file: its name, unique among those of all replicas.
        """
        if not self.folder.exists(EXPERIMENT):
            self.folder.write_json(EXPERIMENT, asdict(experiment))
        self.folder.write_table(f"{hour_name(datetime.now(UTC))}/{file}{ENDING}", exposures)

    def hours(self) -> list[str]:
        """The hours that have files, the oldest first, such as 2026-01-31T09."""
        compacted = {file.removesuffix(ENDING) for file in self.folder.names() if file.endswith(ENDING)}
        return sorted(compacted | {folder.name for folder in self.folder.subfolders()})

    def read(self) -> ExposureRows:
        """Reads all exposures of the run. A damaged file is left out and named.

        Raises:
            OSError: the storage does not answer.
        """
        return sum((self.read_hour(hour) for hour in self.hours()), ExposureRows())

    def read_hour(self, hour: str, but: frozenset[str] = frozenset()) -> ExposureRows:
        """Reads the exposures of an hour, as `read` does.

        Args:
            but: files that are left out, by their paths in the run's folder.
        """
        for _ in range(3):  # files may be compacted between listing and reading
            compacted = [self.compacted(hour)] if self.folder.exists(self.compacted(hour)) else []
            with suppress(FileNotFoundError):
                return ExposureRows.of(self.folder, [f for f in (*compacted, *self.files(hour)) if f not in but])
        raise OSError(f"{self.folder}/{hour}: its files vanish while they are read")

    def compacted(self, hour: str) -> str:
        """The path of an hour's compacted file in the run's folder, whether it exists or not."""
        return hour + ENDING

    def files(self, hour: str) -> list[str]:
        """The files of an hour whose rows are not in its compacted file, by their paths in the run's folder."""
        compacted = self._compacted_from(hour)
        files = (f"{hour}/{file}" for file in (self.folder / hour).names() if file.endswith(ENDING))
        return [file for file in files if file not in compacted]

    def compact(self, now: datetime) -> list[str]:
        """Makes one file of each hour that is over; returns those hours.

        A reader that comes in between, or after an interruption, finds each row once: the compacted file names the
        files that it was made of. A damaged file stays where it is.
        """
        last = hour_name(now - GRACE - timedelta(hours=1))
        hours = [folder.name for folder in self.folder.subfolders() if folder.name <= last]
        return [hour for hour in hours if self._compact_hour(hour)]

    def _compact_hour(self, hour: str) -> bool:
        """Adds the files of an hour to its compacted file, and deletes them; returns whether there were any."""
        before = self._compacted_from(hour)
        if not before and self.folder.exists(self.compacted(hour)):
            return False  # it cannot be read now, and must not be replaced
        tables = {
            file: found for file in self.files(hour) if isinstance(found := read_file(self.folder, file), pa.Table)
        }
        if tables:
            earlier = [self.folder.read_table(self.compacted(hour)).cast(SCHEMA)] if before else []
            whole = pa.concat_tables([*earlier, *tables.values()])
            made_of = json_text(sorted(before | tables.keys()))
            self.folder.write_table(self.compacted(hour), whole.replace_schema_metadata({COMPACTED: made_of}))
        for file in before | tables.keys():
            self.folder.delete_file(file)
        if not (self.folder / hour).files():
            (self.folder / hour).delete()
        return bool(tables)

    def _compacted_from(self, hour: str) -> frozenset[str]:
        """The files whose rows are in the compacted file of an hour; none if it is not there, or is damaged."""
        if not self.folder.exists(self.compacted(hour)):
            return frozenset()
        try:
            metadata = self.folder.read_schema(self.compacted(hour)).metadata or {}
        except (OSError, ValueError):  # whoever reads its rows names it
            return frozenset()
        return frozenset(json.loads(metadata.get(COMPACTED, b"[]")))


def experiment_folder(storage: Folder, name: str) -> Folder:
    """The folder of all runs of an experiment, whether it exists or not."""
    return storage / "exposures" / name


def hour_name(moment: datetime) -> str:
    """The name of the hour in UTC that a moment is in."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H}"


def read_file(folder: Folder, file: str) -> pa.Table | str:
    """The rows of a file by SCHEMA; for a damaged file a sentence that names it.

    Raises:
        FileNotFoundError: it is gone.
        OSError: the storage does not answer.
    """
    try:
        return folder.read_table(file).cast(SCHEMA).replace_schema_metadata(None)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as e:  # pyarrow raises either for a file that is cut
        if not folder.exists(file):  # raises OSError where the storage does not answer
            raise FileNotFoundError(f"{folder}/{file}") from e
        return f"{folder}/{file}: left out, because it cannot be read as exposures ({e})"


def read_earlier_layout(storage: Folder, name: str, since: str | None) -> ExposureRows:
    """Exposures that earlier versions wrote, which did not tell runs apart: those from a moment on.

    Args:
        since: ISO timestamp; None means all.
    """
    folder = experiment_folder(storage, name)
    read = ExposureRows.of(folder, [file for file in folder.names() if file.endswith(ENDING)])
    if since is None:
        return read
    is_later = pc.greater_equal(read.table["time"], pa.scalar(since).cast(pa.timestamp("us", tz="UTC")))
    return replace(read, table=read.table.filter(is_later))
