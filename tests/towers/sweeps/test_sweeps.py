"""Sweeps by the command line, as a researcher types them: failures, running again, stopping, searching, seeds."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from tests.towers.sweeps.app import BEGAN
from tests.towers.sweeps.simulated import PLAIN, head, node
from towers.sweeps.records import Record, Records, State
from towers.sweeps.search.study import open_study
from towers.sweeps.settings import SweeperConfig

pytestmark = pytest.mark.slow

RAY = ("hydra/launcher=ray", "hydra.launcher.num_cpus=4")

PATIENCE_S = 900
"""Ends a test that would never end; no test depends on how fast the machine is."""


def swept(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A sweep of tests/towers/sweeps/app.py."""
    return subprocess.run(
        command(folder, arguments),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, **(env or {})},
    )


def command(folder: Path, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "tests.towers.sweeps.app", "-m", f"hydra.sweep.dir={folder}", *RAY, *arguments]


def records(folder: Path) -> list[Record]:
    return Records(folder).read()


def begun(folder: Path, trials: int) -> list[int]:
    """The processes of a sweep's trials, as soon as so many have begun."""
    ends = time.monotonic() + PATIENCE_S
    while len(pids := [int(pid) for path in folder.glob(f"*/{BEGAN}") if (pid := path.read_text())]) < trials:
        assert time.monotonic() < ends, f"{len(pids)} of {trials} trials began"
        time.sleep(0.1)
    return pids


def living(pids: Sequence[int]) -> list[psutil.Process]:
    """Which of these processes do not end; those that were killed get the time that a busy machine needs for it."""
    ends, processes = time.monotonic() + 60, [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    while (left := [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]) and (
        time.monotonic() < ends
    ):
        time.sleep(0.1)
    return left


def states(folder: Path) -> dict[int, State]:
    return {record.number: record.state for record in records(folder)}


@pytest.mark.slow
def test_trials_that_die_do_not_stop_the_others_and_a_second_run_does_the_rest(tmp_path: Path) -> None:
    """Three are killed by a signal and one runs out of memory, by the judgement of Ray's own memory monitor.

    The one that runs out of memory is placed on a node whose limit is 0, so that the monitor's judgement does not
    depend on what else the machine does. The node joins once the sweep runs: before, Ray might place the sweep's own
    actor on it.
    """
    folder, mended = tmp_path / "sweep", tmp_path / "mended"
    jobs = ("number=range(12)", "+plan={t1:die,t4:hang,t6:die,t9:die}", f"unless={mended}", "cramped=4")
    no_memory = {"RAY_memory_usage_threshold": "0", "RAY_memory_monitor_refresh_ms": "100"}
    with head(tmp_path, num_cpus=4, resources={"ample_memory": 12}) as address:
        jobs = (*jobs, f"hydra.launcher.address={address}", "hydra.launcher.ship_code=false")
        little = (f"--address={address}", "--num-cpus=1", '--resources={"little_memory": 1}')
        sweep = subprocess.Popen(
            command(folder, jobs),
            env={**os.environ, **PLAIN},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun(folder, 1)
        with node(tmp_path / "cramped.log", little, PLAIN | no_memory):
            told, _ = sweep.communicate(timeout=PATIENCE_S)
        assert sweep.returncode != 0
        lost = {record.number: str(record.reason) for record in records(folder) if record.state is State.lost}
        assert lost.keys() == {1, 4, 6, 9}
        assert all("its process died" in lost[number] for number in (1, 6, 9))
        assert "out of memory" in lost[4]
        assert "8 finished, 4 lost" in told
        mended.touch()
        with node(tmp_path / "ample.log", little, PLAIN | {"RAY_memory_monitor_refresh_ms": "0"}):
            second = swept(folder, *jobs, env=PLAIN)
    assert second.returncode == 0, second.stderr
    assert "8 of 12 trials are done already" in second.stdout
    assert set(states(folder).values()) == {State.finished}
    assert len((folder / "trials.jsonl").read_text().splitlines()) == 12 + 4


@pytest.mark.slow
def test_a_trial_that_raises_is_told_in_a_line(tmp_path: Path) -> None:
    threads = "+hydra.launcher.runtime_env.env_vars.OMP_NUM_THREADS='3'"
    done = swept(tmp_path / "sweep", "number=0,1,2", "+plan={t1:raise}", threads)
    assert done.returncode != 0
    assert states(tmp_path / "sweep") == {0: State.finished, 1: State.failed, 2: State.finished}
    assert {record.value("threads") for record in records(tmp_path / "sweep")} == {"3", None}
    assert "sweep: trial 1 failed: ValueError: number: 1 is not wanted" in done.stdout
    assert "number: 1 is not wanted" in (tmp_path / "sweep" / "1" / "log.txt").read_text()


@pytest.mark.slow
def test_a_trial_for_which_there_is_no_room_is_told_at_once(tmp_path: Path) -> None:
    done = swept(tmp_path / "sweep", "cpus=64,1", "hydra.launcher.cpus=2")
    assert done.returncode != 0
    assert states(tmp_path / "sweep") == {0: State.failed, 1: State.finished}
    assert [record.value("threads") for record in records(tmp_path / "sweep")] == [None, "2"]
    assert "trial 0 asks for 1 worker(s) with 64 CPU" in done.stdout
    assert "the Ray started here has 4 CPU: set hydra.launcher.address" in done.stdout


@pytest.mark.slow
def test_a_stopped_sweep_leaves_no_process_and_goes_on_later(tmp_path: Path) -> None:
    folder, mended = tmp_path / "sweep", tmp_path / "mended"
    jobs = ("number=0,1,2", "what=finish,hang", f"unless={mended}")
    sweep = subprocess.Popen(command(folder, jobs), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pids = begun(folder, 4)
    sweep.send_signal(signal.SIGINT)
    sweep.communicate(timeout=PATIENCE_S)
    assert sweep.returncode != 0
    assert not living(pids)
    assert State.interrupted in states(folder).values()
    done = [number for number, state in states(folder).items() if state is State.finished]
    mended.touch()
    assert swept(folder, *jobs).returncode == 0
    assert set(states(folder).values()) == {State.finished}
    again = [json.loads(line)["number"] for line in (folder / "trials.jsonl").read_text().splitlines()]
    assert all(again.count(number) == 1 for number in done)


@pytest.mark.slow
def test_a_trial_that_hangs_is_given_up_and_a_lost_one_tried_again(tmp_path: Path) -> None:
    """The trial that finishes does so in a launch without the limit, which a slow machine might exceed."""
    folder = tmp_path / "sweep"
    assert swept(folder, "what=finish").returncode == 0
    hung = swept(folder, "what=finish,hang", "hydra.launcher.hangs_after_s=4")
    assert hung.returncode != 0
    (finished, lost) = records(folder)
    assert (finished.state, lost.state) == (State.finished, State.lost)
    assert lost.reason == "hung: no epoch for hydra.launcher.hangs_after_s=4"
    waited = tmp_path / "waited"
    assert swept(waited, "what=wait", "hydra.launcher.hangs_after_s=4").returncode == 0, (
        "a trial that waits does not hang"
    )
    again = tmp_path / "again"
    assert swept(again, "what=die", "hydra.launcher.retries=2").returncode != 0
    assert [record.attempts for record in records(again)] == [3]


@pytest.mark.slow
def test_a_search_finds_the_best_prunes_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    halving = ("hydra.sweeper.halving.factor=3", "hydra.sweeper.halving.metric=value")
    search = ("x=interval(-1.0,1.0)", "epochs=9", "hydra/sweeper=optuna", *halving)
    first = swept(folder, *search, "hydra.sweeper.trials=12")
    assert first.returncode == 0, first.stderr
    found = records(folder)
    assert len(found) == 12
    assert {record.state for record in found} == {State.finished, State.pruned}
    assert sum(len(record.epochs) for record in found) < 12 * 9 / 2
    best = max(record.value("training.best_value") or 0.0 for record in found)
    assert best > 0.9
    assert f"best_value: {best}" in (folder / "optimization_results.yaml").read_text()
    trials = open_study(SweeperConfig(), folder).trials
    first_ended = min(trial.datetime_complete for trial in trials if trial.datetime_complete is not None)
    asked = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
    assert sum(at < first_ended for at in asked) <= 5, "four run, one waits, and the others learn from these"
    second = swept(folder, *search, "hydra.sweeper.trials=15")
    assert second.returncode == 0, second.stderr
    assert "12 of 15 trials are done already (hydra.sweeper.study=NAME begins anew)" in second.stdout
    assert len(records(folder)) == 15


@pytest.mark.slow
def test_seeds_are_averaged_and_the_leaderboard_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    done = swept(folder, "x=0,0.3,0.9", "seed=0,1,2")
    assert done.returncode == 0, done.stderr
    board = pq.read_table(folder / "leaderboard.parquet").to_pylist()
    assert [row["x"] for row in board] == ["0.3", "0", "0.9"]
    assert board[0]["mean"] == pytest.approx(1.01)
    assert board[0]["seeds"] == 3
    assert board[0]["low"] < board[0]["mean"] < board[0]["high"]
    assert board[1]["p"] == 0.0, "each seed is the same bit worse"
    assert "python -m tests.towers.sweeps.app x=0.3 seed=2" in done.stdout
    page = (folder / "leaderboard.html").read_text()
    assert page.count("<img") >= 2
