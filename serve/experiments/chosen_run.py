"""Which run of an experiment an analysis is of: the running one, the newest, or the one that the operator names."""

from dataclasses import dataclass, replace

import pyarrow as pa

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.records.hourly_files import HourlyRows
from data.sources.event_log.exposures import exposures_folder
from data.sources.schema import DataError
from serve.experiments.assignment import Experiment, TrafficConfig, run_name
from serve.experiments.exposure_files import SCHEMA, ExposureRun, experiment_folder, read_earlier_layout
from serve.experiments.matching import NeededExposures

EMPTY = SCHEMA.empty_table()


@dataclass(frozen=True, slots=True)
class ChosenRun:
    """A run of an experiment, with its exposures.

    Attributes:
        experiment: its name, shares and beginning.
        exposures: what was recorded of it, as far as it was asked for.
        others: the beginnings of the other runs of this name, whose exposures do not count.
    """

    experiment: Experiment
    exposures: HourlyRows
    others: list[str]


def choose_run(
    storage: Folder,
    traffic: TrafficConfig,
    running: Experiment | None,
    since: str | None,
    request_ids: pa.ChunkedArray | None = None,
) -> ChosenRun:
    """Finds a run of the experiment `traffic.name` and reads its exposures.

    Args:
        traffic: the name; and the shares of the variants, for an experiment of an earlier version, which did not record
            them.
        running: the experiment that runs now, of whatever name.
        since: the beginning of the timestamp of the run's beginning; None means the running run or, where none runs,
            the newest.
        request_ids: if given, the exposures are those that an analysis of outcomes of these requests needs; see
            `NeededExposures`.

    Raises:
        DataError: there are no exposures.
        ConfigError: there is no experiment of this name; no run, or more than one, began at `since`; or the shares are
            missing, or are not the run's own.
    """
    known, left_out = _recorded(storage, traffic.name)
    if running is not None and running.name == traffic.name:
        known[running.since] = running
    if not known:
        _require_known(storage, traffic.name, running)
    chosen = _chosen(known, running, traffic, since, "".join(f"; {sentence}" for sentence in left_out))
    exposures = read_earlier_layout(storage, traffic.name, chosen.since or None)
    run = ExposureRun.of(storage, chosen) if chosen.since else None
    if request_ids is not None:
        exposures = _needed(exposures, run, request_ids)
    elif run is not None:
        exposures += run.read()
    if not len(exposures.table):
        folder = experiment_folder(storage, traffic.name)
        begun = f", run begun at {chosen.since}" if chosen.since else ""
        said = "".join(f"; {sentence}" for sentence in (*left_out, *exposures.damaged))
        raise DataError(
            f"traffic.name: {traffic.name!r}{begun}: no exposures in {folder}: none was recorded, or"
            f" they were deleted after events.exposure_days{said}"
        )
    exposures = replace(exposures, damaged=(*left_out, *exposures.damaged))
    return ChosenRun(chosen, exposures, sorted(known.keys() - {chosen.since}))


def _needed(earlier: HourlyRows, run: ExposureRun | None, request_ids: pa.ChunkedArray) -> HourlyRows:
    """What an analysis of outcomes of these requests needs of the exposures of a run, and of those of before."""
    needed, read = NeededExposures(request_ids).with_groups([earlier.table]), replace(earlier, table=EMPTY)
    if run is not None:
        folded = run.rows.fold(needed, NeededExposures.with_groups)
        needed, read = folded.value, read + HourlyRows(EMPTY, folded.files, folded.damaged)
    return replace(read, table=needed.reduced().rows)


def _recorded(storage: Folder, name: str) -> tuple[dict[str, Experiment], list[str]]:
    """The recorded runs of an experiment by their beginning, and a sentence for each that cannot be read."""
    known, left_out = {}, []
    for run in ExposureRun.all(storage, name):
        try:
            found = run.experiment()
            known[found.since] = found
        except DataError as e:
            left_out.append(f"left out: {e}")
    return known, left_out


def _require_known(storage: Folder, name: str, running: Experiment | None) -> None:
    """Raises ConfigError where nothing was recorded of an experiment of this name, with the names that there are."""
    names = {folder.name for folder in exposures_folder(storage).subfolders()}
    if name in names:
        return
    known = sorted(names | ({running.name} if running is not None else set()))
    raise ConfigError(
        f"traffic.name: there is no experiment {name!r}; there are {', '.join(known) or 'none'}. The exposures of one"
        f" come to {exposures_folder(storage)} some seconds after its first answers"
    )


def _chosen(
    known: dict[str, Experiment], running: Experiment | None, traffic: TrafficConfig, since: str | None, left_out: str
) -> Experiment:
    """The run that is meant; one of an earlier version has its shares from the config and no beginning.

    Args:
        left_out: what the message of an error says of the runs that cannot be read.
    """
    if since is not None:
        found = [begun for begun in known if begun.startswith(since)]
        if len(found) != 1:
            raise ConfigError(
                f"since: {since!r} is the beginning of {len(found)} runs of {traffic.name!r}; runs began at"
                f" {', '.join(sorted(known)) or 'no time that is recorded'}{left_out}"
            )
        return _with_own_shares(known[found[0]], traffic)
    if running is not None and running.since in known:
        return _with_own_shares(running, traffic)
    if known:
        return _with_own_shares(known[max(known, key=run_name)], traffic)
    if not traffic.shares:
        if left_out:
            raise ConfigError(f"traffic.name: no run of {traffic.name!r} can be read{left_out}")
        raise ConfigError(f"traffic.shares: experiment {traffic.name!r} is over; give traffic.shares.ID=...")
    return Experiment(traffic.name, dict(traffic.shares), "")


def _with_own_shares(experiment: Experiment, traffic: TrafficConfig) -> Experiment:
    """The experiment; raises ConfigError where the config says other shares than it had."""
    if traffic.shares and dict(traffic.shares) != experiment.shares:
        raise ConfigError(
            f"traffic.shares: {dict(traffic.shares)} are not those of the run begun at {experiment.since}, which were"
            f" {experiment.shares}; leave them out"
        )
    return experiment
