"""The final fit, `train.fit_on=all`: it learns from everything, has a re-ranker, and is measured one period earlier."""

from dataclasses import replace

import numpy as np
import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.artifacts.seals import remove_sealed
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.backtest import has_seen_test, measurable
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.checkpoint.comparison import compare
from towers.checkpoint.tensor_files import CheckpointError
from towers.evaluation.measure import evaluate
from towers.evaluation.report import report_of
from towers.model.config import FittedSplits
from towers.training.fit import train
from towers.training.stages import measured_fit
from towers.training.stages.measured_again import report_by

pytestmark = pytest.mark.slow


def on_all(config: Config) -> Config:
    return replace(config, train=replace(config.train, fit_on=FittedSplits.all))


@pytest.fixture(scope="module")
def final(tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint) -> Checkpoint:
    return train(on_all(tiny), dataset, Folder.of(tiny.storage.root))


def test_it_learns_from_every_interaction(final: Checkpoint, dataset: PreparedDataset) -> None:
    num_all = sum(dataset.manifest["counts"][split] for split in ("train", "validation", "test"))
    assert final.counts_I.sum() == final.seen.lengths_U.sum() == num_all
    newest = max(dataset.interactions(split)["time"].to_numpy().max() for split in ("train", "validation", "test"))
    assert final.manifest["newest_interaction"] == newest


def test_its_epochs_are_those_of_the_measured_run(final: Checkpoint, checkpoint: Checkpoint) -> None:
    assert final.manifest["settled"] == str(checkpoint.folder)
    assert final.manifest["training"]["epoch"] == checkpoint.manifest["training"]["best_epoch"]


def test_it_keeps_a_fitted_reranker(final: Checkpoint) -> None:
    assert final.reranker.is_fitted
    assert final.reranker.deep is not None
    rotation_DD = final.reranker.deep.alignment_DD
    assert rotation_DD is not None
    assert np.allclose(rotation_DD @ rotation_DD.T, np.eye(len(rotation_DD)), atol=1e-5)


def test_its_report_is_that_of_its_backtest(final: Checkpoint, tiny: Config, dataset: PreparedDataset) -> None:
    backtest = measurable(final)
    assert backtest.name == f"{final.name}-backtest"
    counts = dataset.manifest["counts"]
    assert backtest.counts_I.sum() == counts["train"] + counts["validation"], "it has not seen the test part"
    vectors, fit_on = backtest.item_vectors_ID, FittedSplits.train_validation
    again = evaluate(backtest.model, backtest.reranker, dataset, fit_on, tiny.evaluate, vectors, backtest.ties)
    report = report_of(final.manifest)
    assert report.reranked == pytest.approx(again.reranked)
    assert "backtest" in report.notes[0]


def test_the_same_command_trains_nothing_again(final: Checkpoint, tiny: Config, dataset: PreparedDataset) -> None:
    said: list[str] = []
    assert train(on_all(tiny), dataset, Folder.of(tiny.storage.root), said.append).manifest == final.manifest
    assert said == [f"train: {final.name} is already trained"]


def test_comparisons_measure_the_backtest(
    final: Checkpoint, checkpoint: Checkpoint, tiny: Config, dataset: PreparedDataset
) -> None:
    both = compare(final, checkpoint, dataset, tiny.evaluate)
    found = {(d.ranking, d.metric): d for d in both.differences}
    backtest = report_of(measurable(final).manifest)
    assert found["towers", "ndcg@20"].checkpoint == pytest.approx(backtest.metrics["ndcg@20"])
    measured = both.as_json()["measured"]
    assert measured["checkpoint"] == {"folder": str(measurable(final).folder), "fit_on": "train_validation"}
    assert measured["baseline"] == {"folder": str(checkpoint.folder), "fit_on": "train"}
    _, backtested, learned = both.notes
    assert backtested.endswith(f" from the test part, and was measured by its backtest {final.name}-backtest")
    assert learned.endswith(f"; checkpoint={final.manifest['settled']} is its fit on the train part")
    assert len(compare(final, final, dataset, tiny.evaluate).notes) == 2, "one backtest, of the same parts"


def test_an_older_log_has_seen_nothing_of_a_later_test_part(final: Checkpoint, dataset: PreparedDataset) -> None:
    assert has_seen_test(final.manifest, dataset)
    test_from = dataset.manifest["boundaries"]["test_from"]
    assert not has_seen_test(final.manifest | {"newest_interaction": test_from - 1}, dataset)


def test_without_its_backtest_it_is_not_measured(final: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="train again"):
        measurable(replace(final, manifest=final.manifest | {"backtest": f"{final.folder}-gone"}))


def test_a_kill_before_the_final_fit_changes_nothing(final: Checkpoint, tiny: Config, dataset: PreparedDataset) -> None:
    before = final.item_vectors_ID.clone()
    remove_sealed(final.folder)
    again = train(on_all(tiny), dataset, Folder.of(tiny.storage.root))
    assert np.array_equal(before, again.item_vectors_ID)
    assert np.array_equal(open_checkpoint(final.folder).item_vectors_ID, before)


def test_no_reranker_is_shipped_that_the_backtest_has_not_measured(
    tiny: Config, dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test part alone had kept one, and the report said that retrieval's order stays."""
    config, storage = replace(tiny, seed=91, train=replace(tiny.train, epochs=1)), Folder.of(tiny.storage.root)
    with monkeypatch.context() as patch:
        patch.setattr(measured_fit, "fit_reranker", lambda *_: {})
        assert not train(config, dataset, storage).reranker.is_fitted
    said: list[str] = []
    made = train(on_all(config), dataset, storage, said.append)
    assert not made.reranker.is_fitted
    assert report_of(made.manifest).calibration is None
    assert any(line.startswith("re-ranker: none, which nobody would have measured, as in ") for line in said)


def test_without_a_validation_part_it_is_refused(ray_session: None, root: str, tiny_overrides: tuple[str, ...]) -> None:
    config = load([*tiny_overrides, f"storage.root={root}", "data.split.validation_share=0", "train.fit_on=all"])
    storage = Folder.of(config.storage.root)
    with pytest.raises(ValueError, match=r"train\.fit_on: all takes its number of epochs"):
        train(config, prepare(config.data, storage), storage)


def test_it_says_by_which_values_its_backtest_was_measured(
    final: Checkpoint, tiny: Config, dataset: PreparedDataset
) -> None:
    """As after a kill in the last fit, and the same command with another k."""
    remove_sealed(final.folder)
    other = replace(tiny, evaluate=replace(tiny.evaluate, k=10, resamples=100))
    again, said = train(on_all(other), dataset, Folder.of(tiny.storage.root)), list[str]()
    assert again.manifest["k"] == again.manifest["measured_by"]["k"] == 20
    assert report_by(other.evaluate, again, dataset, said.append).k == 10
    assert "evaluate.k was 20 and is 10" in said[0]


def test_a_backtest_of_other_epochs_is_not_used(tiny: Config, dataset: PreparedDataset) -> None:
    """The measured training, which decides the number of epochs, was trained again since."""
    config, storage = replace(tiny, seed=74, train=replace(tiny.train, epochs=1)), Folder.of(tiny.storage.root)
    measured = train(config, dataset, storage)
    two = measured.manifest["training"] | {"best_epoch": 2}
    measured.folder.write_json("manifest.json", measured.manifest | {"training": two}, sort_keys=False)
    before = train(on_all(config), dataset, storage)
    assert measurable(before).manifest["training"]["epoch"] == before.manifest["training"]["epoch"] == 2
    measured.folder.write_json("manifest.json", measured.manifest, sort_keys=False)
    remove_sealed(before.folder)
    said: list[str] = []
    after = train(on_all(config), dataset, storage, said.append)
    assert measurable(after).manifest["training"]["epoch"] == after.manifest["training"]["epoch"] == 1
    assert sum("has 2 epochs saved, is to have 1, and is trained from the start" in line for line in said) == 2
