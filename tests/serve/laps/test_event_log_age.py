"""A lap says how old the event log is: nothing new may mean that nothing is compacted."""

from pathlib import Path

from data.artifacts.folders import Folder
from data.sources.event_log.files import EventLog
from data.sources.events import EventLogSource
from data.sources.synthetic import SyntheticSource
from serve.laps.event_log_age import age_of_events
from tests.conformance.events import now_us

MINUTE_US = 60_000_000


def test_the_age_is_that_of_the_last_compaction(tmp_path: Path) -> None:
    source, log = EventLogSource(root=str(tmp_path)), EventLog.of(Folder.of(str(tmp_path)))
    assert "no compaction of " in str(age_of_events(source))
    log.set_until(now_us())
    assert "no compaction of " in str(age_of_events(source)), "the last part may be of a compaction that failed"
    log.set_compacted(now_us() - 300 * MINUTE_US)
    assert "until 5.0 hours ago, and nothing since: see why the application `compaction`" in str(age_of_events(source))
    log.set_compacted(now_us() - 4 * MINUTE_US)
    assert age_of_events(source) == "the event log has what was accepted until 4 minutes ago"


def test_other_logs_have_none() -> None:
    assert age_of_events(SyntheticSource()) is None
