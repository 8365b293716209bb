"""Our metrics against trec_eval itself (through pytrec-eval), on random rankings, users and judgements."""

import numpy as np
import pytest

from tests.reporting.skipping import skip
from towers.evaluation.metrics import hits, per_query

NUM_QUERIES, NUM_ITEMS, KS = 60, 200, (1, 5, 10, 20, 50)


@pytest.fixture(scope="module")
def rankings() -> tuple[np.ndarray, list[np.ndarray]]:
    """Distinct item rows [Q, 50], some rankings shorter (-1), and each query's relevant items: 1 to 80 of them."""
    random = np.random.default_rng(0)
    ranked_QK = np.stack([random.permutation(NUM_ITEMS - 1)[:50] + 1 for _ in range(NUM_QUERIES)])
    for query in range(0, NUM_QUERIES, 7):
        ranked_QK[query, random.integers(0, 50) :] = -1
    return ranked_QK, [random.permutation(NUM_ITEMS - 1)[: random.integers(1, 81)] + 1 for _ in range(NUM_QUERIES)]


@pytest.fixture(scope="module")
def judged(rankings: tuple[np.ndarray, list[np.ndarray]]) -> list[dict[str, float]]:
    """What trec_eval says of each query; scores fall with the rank."""
    try:
        import pytrec_eval
    except ImportError:  # it has no wheel for Linux on ARM
        skip(
            "pytrec-eval is not installed",
            "pip install pytrec-eval-terrier, which needs a C compiler, then the same again",
        )
    ranked_QK, relevant = rankings
    truth = {str(query): {str(item): 1 for item in items} for query, items in enumerate(relevant)}
    run = {
        str(query): {str(item): float(-rank) for rank, item in enumerate(row) if item >= 0} | {"nothing": -1e9}
        for query, row in enumerate(ranked_QK)
    }
    at = ",".join(map(str, KS))
    names = {f"recall.{at}", f"ndcg_cut.{at}", f"success.{at}", "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(truth, names).evaluate(run)
    return [found[str(query)] for query in range(len(relevant))]


@pytest.fixture(scope="module")
def ours(rankings: tuple[np.ndarray, list[np.ndarray]]) -> dict[str, np.ndarray]:
    ranked_QK, relevant = rankings
    sizes = np.array([len(items) for items in relevant])
    pairs = (np.repeat(np.arange(NUM_QUERIES), sizes), np.concatenate(relevant))
    return per_query(hits(ranked_QK, pairs, NUM_ITEMS), sizes, KS)


@pytest.mark.parametrize(
    ("our_name", "their_name"), [("recall", "recall"), ("ndcg", "ndcg_cut"), ("hit_rate", "success")]
)
@pytest.mark.parametrize("k", KS)
def test_per_query_at_k(
    our_name: str, their_name: str, k: int, ours: dict[str, np.ndarray], judged: list[dict[str, float]]
) -> None:
    theirs_Q = [values[f"{their_name}_{k}"] for values in judged]
    assert 0 < np.mean(theirs_Q) < 1, "rankings that are neither all wrong nor all right"
    assert ours[f"{our_name}@{k}"] == pytest.approx(np.array(theirs_Q), abs=1e-4 / 2)


def test_reciprocal_rank(ours: dict[str, np.ndarray], judged: list[dict[str, float]]) -> None:
    """trec_eval's has no cut-off: it is ours at the length of the rankings."""
    assert ours["mrr@50"] == pytest.approx(np.array([values["recip_rank"] for values in judged]), abs=1e-4 / 2)
