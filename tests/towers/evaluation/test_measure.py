"""Evaluation: what is masked, what is relevant, how ties fall, and popularity for those of whom nothing is known."""

import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from rich.console import Console
from scipy import sparse

from conf.schema import Config
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TEST, TRAIN, VALIDATION
from data.sequences.histories import Sequences
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.evaluation.baselines.item_filter import rank_by_filter
from towers.evaluation.config import PublishedResult
from towers.evaluation.measure import evaluate, measure
from towers.evaluation.presentation import plots
from towers.evaluation.presentation.tables import metric_cells, metrics_table, slices_table
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import QueryVectors, embed, rank_by_popularity, retrieve
from towers.evaluation.report import report_of
from towers.evaluation.retrieval import mask_seen, top_k
from towers.model.config import FittedSplits
from towers.model.tie_order import TieOrder
from towers.training.runs import training_name
from towers.training.tracking import Tracker, TrackingConfig, TrackingMode


def seen(*pairs: tuple[int, int], num_users: int = 4) -> Sequences:
    users, items = (np.array(column, dtype=np.int32) for column in zip(*pairs, strict=True))
    return Sequences.of(pa.table({"user_row": users, "item_row": items}), num_users)


def test_ties_go_to_the_lower_row_even_across_the_boundary() -> None:
    scores = torch.tensor([[0.0, 1.0, 1.0, 1.0, 2.0, 1.0], [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    rows, _ = top_k(scores, 3)
    assert rows.tolist() == [[4, 1, 2], [0, 1, 2]]


def test_top_k_of_random_ties_is_a_stable_sort() -> None:
    scores = torch.randint(0, 5, (50, 200), generator=torch.Generator().manual_seed(0)).float()
    rows, found = top_k(scores, 20)
    wanted, order = scores.sort(dim=1, descending=True, stable=True)
    assert torch.equal(rows, order[:, :20])
    assert torch.equal(found, wanted[:, :20])


@pytest.mark.parametrize("levels", [1, 3, 50, 10**6])
@pytest.mark.parametrize("num_items", [3_000, 3_231])
def test_top_k_of_a_large_catalogue_is_a_stable_sort(levels: int, num_items: int) -> None:
    """Large enough to go by blocks; ties in and across blocks, and masked items."""
    scores = torch.randint(0, levels, (20, num_items), generator=torch.Generator().manual_seed(levels)).float()
    scores[:, 5:70] = -torch.inf
    rows, found = top_k(scores, 30)
    wanted, order = scores.sort(dim=1, descending=True, stable=True)
    assert torch.equal(rows, order[:, :30])
    assert torch.equal(found, wanted[:, :30])


def test_seen_items_and_row_0_are_masked() -> None:
    masked = mask_seen(torch.zeros(2, 4), seen((1, 2), (2, 1), (2, 3)), np.array([1, 2]))
    assert torch.isinf(masked).tolist() == [[True, False, True, False], [True, True, False, True]]


def test_popularity_ranks_by_count_without_what_was_seen() -> None:
    held_out = HeldOut(np.array([1, 2], np.int32), (np.array([0, 1]), np.array([3, 2])), seen((1, 1), (2, 3)))
    ranking = rank_by_popularity(held_out, np.array([0, 9, 5, 7]), batch_size=1, k=3)
    assert ranking.rows_QK.tolist() == [[3, 2, -1], [1, 2, -1]]
    assert measure(ranking, held_out, num_items=4, ks=[1])["recall@1"] == 0.5


@pytest.mark.parametrize("num_items", [50, 6_431])
def test_items_alike_come_in_the_order_of_ties(num_items: int) -> None:
    """Vectors of three kinds only, in a catalogue small and large enough for `top_k` to go by blocks."""
    kinds_ID = torch.nn.functional.normalize(torch.randn(3, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    item_ID = kinds_ID[torch.arange(num_items) % 3]
    ties, users = TieOrder.of(num_items, 5), np.arange(1, 8, dtype=np.int32)
    held_out = HeldOut(users, (np.zeros(0, np.int64), np.zeros(0, np.int64)), seen((1, 5), (2, 3), num_users=9))
    user_QD = torch.randn(7, 64, generator=torch.Generator().manual_seed(1))
    known_Q = torch.arange(7) < 6
    counts_I = np.arange(num_items) % 4
    found = retrieve(QueryVectors(user_QD, known_Q), held_out, counts_I, item_ID, 4, k=20, ties=ties)
    for query in range(7):
        scores_I = (user_QD[query] @ kinds_ID.T)[torch.arange(num_items) % 3].numpy() if query < 6 else counts_I
        rows = np.setdiff1d(np.arange(1, num_items), held_out.seen.of_user(users[query]))
        wanted = rows[np.lexsort((ties.rank_I[rows], -scores_I[rows]))][:20]
        assert found.rows_QK[query].tolist() == wanted.tolist()


def test_the_baselines_break_ties_in_the_same_order() -> None:
    ties, users = TieOrder.of(40, 5), np.array([1, 2], np.int32)
    held_out = HeldOut(users, (np.zeros(0, np.int64), np.zeros(0, np.int64)), seen((1, 5), (2, 3)))
    counts_I, weights_II = np.ones(40, dtype=np.int64), np.zeros((40, 40), np.float32)
    weights_II[5, [7, 9, 30]] = 1
    popular = rank_by_popularity(held_out, counts_I, 2, 39, ties)
    assert popular.rows_QK[1, :38].tolist() == [row for row in ties.rows_I[1:].tolist() if row != 3]
    for weights in (weights_II, sparse.csr_array(weights_II)):
        (first, _) = rank_by_filter(weights, held_out, counts_I, 2, 3, ties).rows_QK
        assert first.tolist() == [row for row in ties.rows_I.tolist() if row in (7, 9, 30)]


def test_relevant_are_new_items_of_the_split(dataset: PreparedDataset) -> None:
    held_out = HeldOut.of(dataset, TEST)
    owner, items = held_out.relevant
    for query in range(0, len(held_out.user_rows_Q), 7):
        row = held_out.user_rows_Q[query]
        before = dataset.interactions(TRAIN, VALIDATION).filter(pa.compute.field("user_row") == int(row))["item_row"]
        after = dataset.interactions(TEST).filter(pa.compute.field("user_row") == int(row))["item_row"]
        assert set(items[owner == query].tolist()) == set(after.to_pylist()) - set(before.to_pylist())
        assert held_out.seen.of_user(row).tolist() == before.to_pylist()


def test_unknown_users_get_popular_items(dataset: PreparedDataset, checkpoint: Checkpoint) -> None:
    held_out = HeldOut.of(dataset, TEST)
    queries = embed(checkpoint.model, held_out, batch_size=50)
    ties = checkpoint.ties
    found = retrieve(queries, held_out, checkpoint.counts_I, checkpoint.item_vectors_ID, batch_size=50, ties=ties)
    popular = rank_by_popularity(held_out, checkpoint.counts_I, batch_size=50, ties=ties)
    unknown = ~found.by_towers_Q
    assert unknown.any(), "the planted log has users who come late"
    assert (found.rows_QK[unknown] == popular.rows_QK[unknown]).all()


def test_evaluating_again_gives_the_same(tiny, dataset: PreparedDataset, checkpoint: Checkpoint) -> None:
    opened, parts = PreparedDataset.open(dataset.folder), open_checkpoint(checkpoint.folder)
    again = evaluate(parts.model, parts.reranker, opened, FittedSplits.train, tiny.evaluate, ties=parts.ties)
    assert again == report_of(checkpoint.manifest)
    catalogues = (opened.users, opened.items, parts.users, parts.items)
    assert not any("ids" in vars(of) for of in catalogues), "which are large, and nothing asks for them"


def test_every_ranking_is_measured_in_the_same_way(checkpoint: Checkpoint) -> None:
    report = report_of(checkpoint.manifest)
    assert [*report.rankings][:3] == ["popularity", "recent popularity", "item-item filter"]
    assert len({frozenset(values) for values in report.rankings.values()}) == 1
    for name, values in report.rankings.items():
        for metric, (low, high) in report.intervals[name].items():
            assert low <= values[metric] <= high, (name, metric)
        assert sum(report.recommended_shares[name]) == pytest.approx(1)


def test_slices_add_up_to_the_whole(checkpoint: Checkpoint) -> None:
    """Users by activity: their recalls, weighed by their number, are the recall."""
    report = report_of(checkpoint.manifest)
    by_user = [part for part in report.slices if part["group"] == "users by activity"]
    assert sum(part["num_users"] for part in by_user) == report.num_queries
    for name, values in report.rankings.items():
        total = sum(part["recall"][name] * part["num_users"] for part in by_user)
        assert total / report.num_queries == pytest.approx(values[f"recall@{report.k}"]), name


def test_the_planted_cold_are_there(checkpoint: Checkpoint) -> None:
    names = {part["name"] for part in report_of(checkpoint.manifest).slices}
    assert {"cold users", "cold items"} <= names


def test_a_report_says_how_far_the_towers_are_ahead_of_each_baseline(checkpoint: Checkpoint) -> None:
    """Two intervals that overlap say little of a difference that is paired by user."""
    report = report_of(checkpoint.manifest)
    assert set(report.ahead) == {"towers", "towers + re-ranker"}
    for ranking, ahead in report.ahead.items():
        assert set(ahead) == set(report.baselines)
        for baseline, of in ahead.items():
            assert set(of) == {f"{metric}@{report.k}" for metric in ("recall", "ndcg", "mrr", "hit_rate")}
            for name, (difference, low, high) in of.items():
                expected = report.rankings[ranking][name] - report.baselines[baseline][name]
                assert difference == pytest.approx(expected, abs=1e-9), (ranking, baseline, name)
                assert low <= difference <= high, (ranking, baseline, name)


def test_a_report_from_before_is_refused() -> None:
    with pytest.raises(ValueError, match="has no .*intervals.* measure again with towers.evaluate"):
        report_of({"split": "test", "num_queries": 1, "metrics": {}, "reranked": {}, "floors": {}})


@pytest.fixture
def result() -> PublishedResult:
    return PublishedResult(name="Someone's", source="Someone 2020", metrics={"recall@20": 0.123456})


def test_tables_show_baselines_published_and_slices(checkpoint: Checkpoint, result: PublishedResult) -> None:
    report = report_of(checkpoint.manifest)
    console = Console(width=120, record=True, file=StringIO())
    console.print(metrics_table(report, "name", [result]), slices_table(report))
    text = console.export_text()
    for word in (*report.rankings, "Someone's", "0.1235", "Someone 2020", "cold users", "random"):
        assert word in text, word
    assert f"{report.metrics['ndcg@20']:.4f}" in text
    difference = report.ahead["towers"][str(report.best_baseline)]["ndcg@20"][0]
    assert f"beside the best baseline, {report.best_baseline}, paired by user: towers {difference:+.4f} (" in text


def test_cells_for_wandb_hold_every_metric(checkpoint: Checkpoint, result: PublishedResult) -> None:
    report = report_of(checkpoint.manifest)
    columns, rows = metric_cells(report, [result])
    assert set(columns[2:]) == set(report.metrics)
    values = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert values["towers"]["mrr@50"] == report.metrics["mrr@50"]
    assert (values["Someone's"]["source"], values["Someone's"]["mrr@50"]) == ("Someone 2020", None)


def test_plots_are_labelled_and_saved(checkpoint: Checkpoint, tmp_path: Path) -> None:
    report = report_of(checkpoint.manifest)
    for path in plots.save(report, tmp_path).values():
        assert path.read_bytes().startswith(b"\x89PNG")
    left, right = plots.recall_by_slice(report).axes
    assert (left.get_ylabel(), right.get_xlabel()) == ("recall@20", "items by popularity")
    (axes,) = plots.popularity_of_recommended(report).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn == report.recommended_shares


@pytest.mark.slow
def test_a_report_is_mirrored_to_wandb(tiny: Config, checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Tables and images lie in the offline run's folder, as files that wandb sync sends."""
    report = report_of(checkpoint.manifest)
    settings = TrackingConfig(mode=TrackingMode.offline, folder=str(tmp_path / "wandb"))
    tracker = Tracker(settings, "some-model", {}, kind="evaluate")
    tracker.show({"test/recall@20": 0.5}, {"metrics": metric_cells(report)}, plots.save(report, tmp_path))
    tracker.finish()
    (folder,) = (tmp_path / "wandb").rglob("offline-run-*-some-model-evaluate")
    media = sorted(path.name.split("_")[0] for path in (folder / "files" / "media").rglob("*.*"))
    assert media == ["metrics", "popularity", "recall", "reliability"]


@pytest.mark.slow
def test_a_tracked_run_holds_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = "data.source.interactions=s3://KEY:Secret9@bucket/log.parquet"
    monkeypatch.setattr(sys, "argv", ["towers.train", given])
    settings = TrackingConfig(mode=TrackingMode.offline, folder=str(tmp_path / "wandb"))
    with Tracker(settings, "some-model", {"data": {"source": {"interactions": given.partition("=")[2]}}}) as tracker:
        tracker.log({"loss": 1.0}, step=1)
    written = [path for path in (tmp_path / "wandb").rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in written)
    assert not [path for path in written if b"Secret9" in path.read_bytes()]


def test_published_results_do_not_change_which_run_it_is(
    tiny: Config, dataset: PreparedDataset, result: PublishedResult
) -> None:
    changed = replace(tiny, evaluate=replace(tiny.evaluate, published=[result], k=10))
    assert training_name(changed, dataset) == training_name(tiny, dataset)
