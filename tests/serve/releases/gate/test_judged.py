"""The gate compares a final fit (`train.fit_on=all`) by its backtest: the towers have seen the held-out queries."""

from dataclasses import replace

import pytest

from conf.schema import Config
from data.dataset.prepared import PreparedDataset
from serve.releases.gate.config import GateError
from serve.releases.gate.gate import run_gate
from serve.releases.gate.judged import judged
from serve.releases.release import Release
from towers.checkpoint.checkpoint import Checkpoint


@pytest.fixture
def final(checkpoint: Checkpoint, dataset: PreparedDataset) -> Checkpoint:
    """A checkpoint that says of itself that it was fitted on everything, and that `checkpoint` is its backtest."""
    said = {"fit_on": "all", "backtest": str(checkpoint.folder), "newest_interaction": dataset.newest_time}
    return replace(checkpoint, folder=checkpoint.folder / "elsewhere", manifest=checkpoint.manifest | said)


def test_a_final_fit_is_compared_by_its_backtest(
    final: Checkpoint, checkpoint: Checkpoint, release: Release, tiny: Config, dataset: PreparedDataset
) -> None:
    found = judged(final, release, dataset)
    assert (found.ours.name, found.live) == (checkpoint.name, release.parts)
    report = run_gate(tiny.gate, tiny.evaluate, final, release)
    assert f"compared by the backtest {checkpoint.name}" in report.notes


def test_a_live_final_fit_is_compared_by_its_backtest_too(
    final: Checkpoint, checkpoint: Checkpoint, release: Release, dataset: PreparedDataset
) -> None:
    live = replace(release, parts=final)
    assert judged(checkpoint, live, dataset).live.name == checkpoint.name
    gone = replace(live, parts=replace(final, manifest=final.manifest | {"backtest": f"{final.folder}-gone"}))
    found = judged(checkpoint, gone, dataset)
    assert found.live is gone.parts
    assert "its backtest is gone: it is favoured" in found.notes[-1]


def test_a_live_final_fit_of_an_older_log_has_not_seen_the_queries(
    final: Checkpoint, checkpoint: Checkpoint, release: Release, dataset: PreparedDataset
) -> None:
    older = final.manifest | {"newest_interaction": dataset.manifest["boundaries"]["test_from"] - 1}
    live = replace(release, parts=replace(final, manifest=older))
    assert judged(checkpoint, live, dataset).live is live.parts


def test_a_live_release_of_another_split_that_has_seen_the_queries_is_said_to_be_favoured(
    checkpoint: Checkpoint, release: Release, dataset: PreparedDataset
) -> None:
    """It was fitted on the train part alone, which reached further than that of the candidate does."""
    test_from = dataset.manifest["boundaries"]["test_from"]
    later = replace(release.parts, manifest=release.parts.manifest | {"newest_interaction": test_from})
    found = judged(checkpoint, replace(release, parts=later), dataset)
    assert found.live is later
    assert "may have seen the held-out interactions" in found.notes[-1]
    assert found.notes[-1].endswith("it is favoured")
    assert "is compared by its backtest" not in found.notes[-1]


def test_a_refreshed_release_is_compared_as_it_is(
    final: Checkpoint, release: Release, dataset: PreparedDataset
) -> None:
    live = replace(release, parts=replace(final, folder=release.parts.folder))
    assert judged(final, live, dataset).ours is final


def test_without_its_backtest_it_is_held_back(final: Checkpoint, release: Release, dataset: PreparedDataset) -> None:
    gone = replace(final, manifest=final.manifest | {"backtest": f"{final.folder}-gone"})
    with pytest.raises(GateError, match="force=true"):
        judged(gone, release, dataset)
