"""An evaluation on a sample of the users says so, and two models are compared on the same users."""

from dataclasses import replace

import numpy as np

from conf.schema import Config
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TEST
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.measure import evaluate
from towers.evaluation.queries import HeldOut
from towers.evaluation.report import report_of
from towers.model.config import FittedSplits


def test_a_sample_of_users_is_said_and_near_the_whole(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint
) -> None:
    whole = report_of(checkpoint.manifest)
    most = whole.num_queries * 2 // 3
    config = replace(tiny.evaluate, max_users=most)
    parts = checkpoint.model, checkpoint.reranker, dataset, FittedSplits.train
    sampled = evaluate(*parts, config, ties=checkpoint.ties)
    assert (sampled.num_queries, sampled.notes[0]) == (
        most,
        f"measured on {most:,} of {whole.num_queries:,} users, drawn at random",
    )
    low, high = sampled.intervals["towers"]["recall@20"]
    assert low < whole.metrics["recall@20"] < high
    assert evaluate(*parts, replace(config, max_users=10**6), ties=checkpoint.ties).notes == whole.notes


def test_a_sample_of_queries_keeps_what_is_theirs(dataset: PreparedDataset) -> None:
    held_out = HeldOut.of(dataset, TEST)
    sample = held_out.sample(50)
    assert len(sample.user_rows_Q) == 50
    assert held_out.sample(None) is held_out.sample(len(held_out.user_rows_Q)) is held_out
    assert (np.diff(sample.user_rows_Q) > 0).all()
    assert (held_out.sample(50).user_rows_Q == sample.user_rows_Q).all(), "two models are compared on the same users"
    for query, row in enumerate(sample.user_rows_Q):
        (before,) = np.flatnonzero(held_out.user_rows_Q == row)
        of_whole, of_sample = (
            set(h.relevant[1][h.relevant[0] == q].tolist()) for h, q in ((held_out, before), (sample, query))
        )
        assert of_whole == of_sample
