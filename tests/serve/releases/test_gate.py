"""The gate: what is worse than the live release, or broken in itself, does not become a release."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from rich.table import Table

from conf.schema import Config
from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from serve.releases.gate.comparison import in_rows_of, measure_answers, queries_for_both
from serve.releases.gate.config import GateConfig, GateError
from serve.releases.gate.gate import Gatekeeper, GateReport, run_gate
from serve.releases.gate.popularity import popular_ndcg
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from towers.checkpoint.checkpoint import Checkpoint
from towers.training.stages.measured_again import MEASURED_BY, as_measured


def spoilt(parts: Checkpoint, change: Callable[[torch.Tensor], torch.Tensor]) -> Checkpoint:
    """The same with other item vectors; the item tower as it is."""
    return replace(parts, item_vectors_ID=change(parts.item_vectors_ID.clone()))


def failed(report: GateReport) -> list[str]:
    return [check.name for check in report.failed]


@pytest.fixture(scope="module")
def worse(checkpoint: Checkpoint) -> Checkpoint:
    """A re-ranker that turns every list around."""
    import copy

    reranker = copy.deepcopy(checkpoint.reranker)
    reranker.calibration[0] *= -1
    return replace(checkpoint, reranker=reranker)


def test_a_release_as_good_as_the_live_one_passes(tiny: Config, checkpoint: Checkpoint, release: Release) -> None:
    report = run_gate(tiny.gate, tiny.evaluate, checkpoint, release)
    assert (failed(report), report.against) == ([], release.id)
    by_name = {check.name: check for check in report.checks}
    quality = by_name["nDCG@20"]
    assert quality.value == quality.live == pytest.approx(checkpoint.manifest["reranked"]["ndcg@20"])
    assert by_name["coverage"].value == pytest.approx(checkpoint.manifest["reranked"]["coverage@20"])


def test_a_clear_loss_is_held_back(tiny: Config, checkpoint: Checkpoint, worse: Checkpoint, release: Release) -> None:
    report = run_gate(tiny.gate, tiny.evaluate, worse, release)
    assert {"nDCG@20", "nDCG@20, least active quarter"} <= set(failed(report))
    assert failed(run_gate(tiny.gate, tiny.evaluate, checkpoint, replace(release, parts=worse))) == [], "a gain is none"


def test_the_first_release_is_held_against_popularity(tiny: Config, checkpoint: Checkpoint) -> None:
    assert failed(run_gate(tiny.gate, tiny.evaluate, checkpoint, None)) == []
    strict = replace(tiny.gate, min_over_popularity=100.0)
    assert failed(run_gate(strict, tiny.evaluate, checkpoint, None)) == ["ndcg@20 on its test part"]


def test_popular_items_are_measured_where_the_report_lacks_them(tiny: Config, checkpoint: Checkpoint) -> None:
    """A search measures no baselines beside its trials; the best of them went live however bad it was."""
    floors = checkpoint.manifest["floors"]
    without = replace(checkpoint, manifest=checkpoint.manifest | {"floors": {}})
    assert popular_ndcg(without) == pytest.approx(floors["popularity"]["ndcg@20"])
    strict = replace(tiny.gate, min_over_popularity=100.0)
    for one in (checkpoint, without):
        assert failed(run_gate(strict, tiny.evaluate, one, None)) == ["ndcg@20 on its test part"]
    gone = checkpoint.manifest["dataset"] | {"folder": "/nowhere"}
    report = run_gate(strict, tiny.evaluate, replace(without, manifest=without.manifest | {"dataset": gone}), None)
    assert failed(report) == []
    assert report.notes[0].startswith("not held against popular items, which its report lacks: /nowhere: no dataset")


def test_repeats_count_where_the_checkpoint_was_measured_by_them(
    tiny: Config, checkpoint: Checkpoint, release: Release
) -> None:
    """The command that publishes knows nothing of the log, and masked what its users take again and again."""
    by = checkpoint.manifest[MEASURED_BY] | {"seen": "keep", "k": 10}
    keeping = replace(checkpoint, manifest=checkpoint.manifest | {MEASURED_BY: by})
    found = {}
    for name, one in (("mask", checkpoint), ("keep", keeping)):
        config = as_measured(tiny.evaluate, one.manifest, lambda _: False)
        found[name] = {check.name: check.value for check in run_gate(tiny.gate, config, one, release).checks}
    assert "nDCG@20" in found["mask"] and "nDCG@10" in found["keep"]
    assert found["keep"]["coverage"] != found["mask"]["coverage"]


def test_vectors_that_have_collapsed_are_seen(tiny: Config, checkpoint: Checkpoint) -> None:
    one = spoilt(checkpoint, lambda item_ID: item_ID[1:2].expand_as(item_ID) + 1e-3 * torch.rand_like(item_ID))
    assert "items: mean cosine of two" in failed(run_gate(tiny.gate, tiny.evaluate, one, None))
    line = spoilt(checkpoint, lambda item_ID: item_ID[:, :1] * torch.eye(item_ID.shape[1])[0])
    assert "items: dimensions in use" in failed(run_gate(tiny.gate, tiny.evaluate, line, None))
    lengths = torch.linspace(0.01, 1, len(checkpoint.item_vectors_ID))[:, None]
    uneven = spoilt(checkpoint, lambda item_ID: item_ID * lengths)
    assert failed(run_gate(tiny.gate, tiny.evaluate, uneven, None)) == ["items: longest vector / 1st percentile"]


def test_another_vocabulary_is_compared_by_its_ids(tiny: Config, checkpoint: Checkpoint, root: str) -> None:
    """The same held-out queries asked of towers that call everything by other rows."""
    dataset = PreparedDataset.open(Folder.of(checkpoint.manifest["dataset"]["folder"]))
    asked = queries_for_both(dataset, checkpoint)
    same = in_rows_of(checkpoint, asked.held_out, dataset)
    assert np.array_equal(same.user_rows_Q, asked.held_out.user_rows_Q)
    assert np.array_equal(same.relevant[1], asked.held_out.relevant[1])
    ours, theirs = (measure_answers(checkpoint, one, tiny.evaluate) for one in (asked.held_out, same))
    assert np.array_equal(ours.ndcg_Q, theirs.ndcg_Q)


def withdrawn(checkpoint: Checkpoint, *rows: int) -> dict[str, list[str]]:
    """What the manifest of a refreshed release says where the items of these rows were removed."""
    return {"withdrawn": checkpoint.items.ids.ids(np.array(rows)).to_pylist()}


def test_what_is_removed_is_in_no_answer_that_is_measured(
    tiny: Config, checkpoint: Checkpoint, release: Release
) -> None:
    """The gate ranked the whole catalogue on both sides: with 10 of 200 items left, all was as good as before."""
    num_items = checkpoint.items.num_ids
    most = withdrawn(checkpoint, *range(11, num_items + 1))
    report = run_gate(tiny.gate, tiny.evaluate, replace(checkpoint, manifest=checkpoint.manifest | most), release)
    (found,) = [check for check in report.failed if check.name == "coverage"]
    assert 0 < found.value <= 10 / num_items and found.live is not None and found.live > 0.2
    live = replace(release, manifest=release.manifest | most)
    report = run_gate(tiny.gate, tiny.evaluate, checkpoint, live)
    (found,) = [check for check in report.checks if check.name == "coverage"]
    assert found.live is not None and found.live <= 10 / num_items < 0.2 < found.value
    nothing = withdrawn(checkpoint, *range(1, num_items + 1))
    with pytest.raises(GateError, match="items are removed, and of the others no held-out user has chosen any"):
        run_gate(tiny.gate, tiny.evaluate, replace(checkpoint, manifest=checkpoint.manifest | nothing), release)


def test_popular_items_that_are_removed_on_purpose_are_no_loss(
    tiny: Config, checkpoint: Checkpoint, release: Release
) -> None:
    few = withdrawn(checkpoint, *np.argsort(-checkpoint.counts_I)[:3].tolist())
    report = run_gate(tiny.gate, tiny.evaluate, replace(checkpoint, manifest=checkpoint.manifest | few), release)
    assert (failed(report), report.against) == ([], release.id)


def gatekeeper(tiny: Config, config: GateConfig, shown: list[Table], reason: str | None = None) -> Gatekeeper:
    return Gatekeeper(config=config, evaluate=tiny.evaluate, reason=reason, show=shown.append)


@pytest.mark.slow
def test_what_is_held_back_leaves_nothing_unless_there_is_a_reason(
    tiny: Config, checkpoint: Checkpoint, tmp_path: object
) -> None:
    storage, shown = Folder.of(str(tmp_path)), []
    config = replace(tiny.gate, max_golden_ms=1e-6)
    index = replace(tiny.index, uri=f"{tmp_path}/milvus.db")
    with pytest.raises(GateError, match=r"gate: golden queries, median ms: .* at most 1e-06\. It is held back"):
        publish(index, checkpoint, storage, lambda _: None, gatekeeper(tiny, config, shown))
    assert ReleaseRegistry.of(storage).ids() == []
    assert len(shown) == 1
    released = publish(index, checkpoint, storage, lambda _: None, gatekeeper(tiny, config, shown, "we know"))
    recorded = ReleaseRegistry.of(storage).manifest(released)["gate"]
    assert recorded["forced"] == "we know"
    assert recorded["failed"][0].startswith("golden queries, median ms")


@pytest.mark.slow
def test_publishing_says_how_old_the_newest_interaction_is(
    tiny: Config, checkpoint: Checkpoint, tmp_path: object
) -> None:
    """It says so first, also of what the gate holds back."""
    said: list[str] = []
    index = replace(tiny.index, uri=f"{tmp_path}/milvus.db")
    strict = gatekeeper(tiny, replace(tiny.gate, max_golden_ms=1e-6), [])
    with pytest.raises(GateError):
        publish(index, checkpoint, Folder.of(str(tmp_path)), said.append, strict)
    age, warning = said[:2]
    newest = datetime.fromtimestamp(checkpoint.manifest["newest_interaction"], UTC)
    assert age.startswith("publish: the newest interaction that it has learned from is of ")
    assert f"{newest:%Y-%m-%d %H:%M} UTC" in age and age.endswith(" days ago")
    assert warning.startswith("publish: warning: its dataset has interactions up to ")
    assert warning.endswith("later; train.fit_on=all learns from them")


def test_without_its_dataset_a_checkpoint_cannot_be_compared(
    tiny: Config, checkpoint: Checkpoint, release: Release
) -> None:
    manifest = checkpoint.manifest | {"dataset": checkpoint.manifest["dataset"] | {"folder": "/nowhere"}}
    with pytest.raises(GateError, match="/nowhere: the dataset whose test part .* prepare it again"):
        run_gate(tiny.gate, tiny.evaluate, replace(checkpoint, manifest=manifest), release)
