"""How old the event log is from which a lap learns: one that finds nothing new may miss events that wait elsewhere."""

import time

from data.artifacts.folders import Folder
from data.sources.event_log.files import MICROS, EventLog
from data.sources.events import EventLogSource
from data.sources.source import SourceConfig

OLD_S = 3600.0
"""Seconds after which it is said what an old log means."""


def age_of_events(source: SourceConfig) -> str | None:
    """A sentence on when the event log of a source was compacted last; None for a source without one.

    Raises:
        DamagedFile: The log does not say it.
    """
    if not isinstance(source, EventLogSource):
        return None
    log = EventLog.of(Folder.of(source.root))
    if not (compacted_us := log.compacted_us):
        return f"no compaction of {log.folder} is known: events that the endpoint has accepted may not be in it"
    age_s = max(time.time() - compacted_us / MICROS, 0.0)
    if age_s < OLD_S:
        return f"the event log has what was accepted until {age_s / 60:.0f} minutes ago"
    return (
        f"the event log has what was accepted until {age_s / 3600:.1f} hours ago, and nothing since: see why the"
        " application `compaction` does not go on (docs/operators.md#compactionfails)"
    )
