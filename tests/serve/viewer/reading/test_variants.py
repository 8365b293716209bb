"""The variants of a running experiment, which the page reads again and again."""

from pathlib import Path

import numpy as np
import pytest

from data.artifacts.folders import Folder
from serve.experiments.assignment import CONTROL, Experiment
from serve.experiments.exposure_files import ExposureRun
from serve.viewer.reading import variants as variants_module
from serve.viewer.reading.variants import RunningVariants
from tests.serve.rollout.test_guard import shown

RUNNING = Experiment("canary-new", {"new": 0.1}, "2026-01-31T09:00:00.000+00:00")


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    storage = Folder.of(str(tmp_path))
    run = ExposureRun.of(storage, RUNNING)
    for hour in (10, 11, 12):
        run.folder.write_table(f"2026-01-31T{hour}/a.parquet", shown(CONTROL, 60, failed=6))
        run.folder.write_table(f"2026-01-31T{hour}/b.parquet", shown("new", 20, degraded=5, items=3))
    return storage


def test_each_file_counts_once_and_an_hour_that_is_over_is_not_read_again(storage: Folder) -> None:
    reader, run = RunningVariants(storage), ExposureRun.of(storage, RUNNING)
    control, new = reader.read(RUNNING)
    assert (control.name, control.share, control.num_answers, control.failed[0]) == (CONTROL, 0.9, 180, 0.1)
    assert (new.name, new.num_answers, new.degraded[0], new.distinct_items) == ("new", 60, 0.25, 3)
    assert new.degraded_rise is not None
    assert new.degraded_rise[0] == 0.25
    (run.folder / "2026-01-31T10").delete()
    run.folder.write_table("2026-01-31T12/c.parquet", shown("new", 20))
    assert [variant.num_answers for variant in reader.read(RUNNING)] == [180, 80]
    other = Experiment("canary-new", {"new": 0.2}, "2026-01-31T13:00:00.000+00:00")
    assert [variant.num_answers for variant in reader.read(other)] == [0, 0], "those of another run do not count"


def test_of_many_answers_the_latency_of_an_even_part_is_kept(storage: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = RunningVariants(storage).read(RUNNING)[0]
    monkeypatch.setattr(variants_module, "MAX_TIMES", 40)
    control = RunningVariants(storage).read(RUNNING)[0]
    assert (control.num_answers, control.failed) == (whole.num_answers, whole.failed)
    took_ms = shown(CONTROL, 60)["took_ms"].to_numpy()
    every_eighth = np.concatenate([took_ms] * 3)[::8]
    assert control.p50_ms[0] == pytest.approx(np.quantile(every_eighth, 0.5))
