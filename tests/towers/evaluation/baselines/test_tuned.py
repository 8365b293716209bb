"""Tuned baselines: their formulas, worked by hand, and that validation chooses their settings."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data.dataset.prepared import PreparedDataset
from data.sequences.histories import Sequences
from tests.towers.evaluation.baselines.test_baselines import sequences
from towers.evaluation.baselines import tuning
from towers.evaluation.baselines.ease import ease
from towers.evaluation.baselines.ials import TOLERANCE, AlsSettings, distinct, fit_items, solve
from towers.evaluation.baselines.rankings import baseline_rankings
from towers.evaluation.baselines.tuning import Tuner
from towers.evaluation.config import Baseline, EvaluateConfig, SeenItems
from towers.evaluation.presentation.plots import STYLES
from towers.evaluation.queries import HeldOut, queries_of
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits
from towers.model.graph import degrees


def tuner_of(dataset: PreparedDataset, config: EvaluateConfig) -> Tuner:
    counts_I = interaction_counts(dataset.items, FittedSplits.train)
    return Tuner(dataset, queries_of(dataset), FittedSplits.train, config, None, counts_I)


SEEN = sequences((1, 1), (1, 2), (2, 2), (2, 2), (2, 3), num_users=4)


def test_ease_minimises_its_objective() -> None:
    """The closed form solves the ridge regression of each item on all others."""
    weights = ease(SEEN, 4, regularisation=0.5).astype(np.float64)
    seen = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]], float)
    assert np.diag(weights).tolist() == [0, 0, 0, 0]
    for item in (1, 2, 3):
        others = [other for other in range(4) if other != item]
        of_others = seen[:, others]
        wanted = np.linalg.solve(of_others.T @ of_others + 0.5 * np.eye(3), of_others.T @ seen[:, item])
        assert weights[others, item] == pytest.approx(wanted, abs=1e-6)


def test_a_vector_solves_the_weighted_least_squares_of_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towers.evaluation.baselines.ials.TOLERANCE", 1e-7)
    items, settings = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), AlsSettings(0.2, 0.1, 3)
    items[0] = 0
    found = solve(distinct(SEEN, 4), items, settings)
    of_2 = items[[2, 3]]  # item 2 counts once
    matrix = of_2.T @ of_2 + 0.2 * items.T @ items + 0.1 * (2 + 0.2 * 4) * torch.eye(3)
    torch.testing.assert_close(found[2], torch.linalg.solve(matrix, of_2.sum(0)))
    assert found[3].tolist() == [0, 0, 0], "no interaction, no vector"
    again = solve(distinct(SEEN, 4), items, settings, torch.full((4, 3), 5.0))
    torch.testing.assert_close(again[1:3], found[1:3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dim", [2, 24])
def test_rows_are_solved_as_by_a_decomposition_of_each_matrix(dim: int) -> None:
    """With many interactions, and few; with weights of which each is much smaller than the next one."""
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(1, 31), random.integers(1, 200, 30))
    pairs = zip(users.tolist(), random.integers(1, 200, len(users)).tolist(), strict=True)
    of = distinct(sequences(*pairs, num_users=31), 200)
    items = torch.randn(200, dim, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, -2, dim)
    for settings in (AlsSettings(1.0, 0.1, dim), AlsSettings(0.01, 0.003, dim), AlsSettings(0.001, 0.0003, dim)):
        found = solve(of, items, settings)
        for user in range(1, 31):
            own = items[of.of_user(user).astype(np.int64)]
            weight = settings.regularisation * (len(own) + settings.unobserved * len(items))
            matrix = own.T @ own + settings.unobserved * items.T @ items + weight * torch.eye(dim)
            residual = (matrix @ found[user] - own.sum(0)).norm() / own.sum(0).norm()
            assert residual < 1.1 * TOLERANCE, (settings, user)


def test_small_batches_give_the_same_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    pairs = list(zip(random.integers(1, 30, 200).tolist(), random.integers(1, 20, 200).tolist(), strict=True))
    of, items = distinct(sequences(*pairs, num_users=31), 20), torch.randn(20, 4)
    whole = solve(of, items, AlsSettings(0.1, 0.01, 4))
    monkeypatch.setattr("towers.evaluation.baselines.ials.ENTRIES", 100)
    torch.testing.assert_close(solve(of, items, AlsSettings(0.1, 0.01, 4)), whole, rtol=1e-2, atol=1e-3)


def test_als_finds_two_tastes() -> None:
    pairs = [(user, item) for user in range(1, 21) for item in (range(1, 6) if user <= 10 else range(6, 11))]
    pairs = [(user, item) for user, item in pairs if item % 5 != user % 5]  # each user lacks one item of theirs
    of = sequences(*pairs, num_users=21)
    settings = AlsSettings(0.1, 0.001, 4)
    items = fit_items(of, 11, settings)
    scores = solve(distinct(of, 11), items, settings) @ items.T
    assert all(scores[user, 1:6].min() > scores[user, 6:].max() for user in range(1, 11))
    assert all(scores[user, 6:].min() > scores[user, 1:6].max() for user in range(11, 21))


def test_validation_chooses(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tuning, "ALS_STEPS", tuning.ALS_STEPS[:1])
    tuner = tuner_of(dataset, EvaluateConfig())
    for baseline in (Baseline.ials, Baseline.ease, Baseline.item_item_tuned):
        ranking, said = getattr(tuner, baseline.name)()
        assert said.startswith(baseline.value)
        assert ranking.rows_QK.shape[0] == len(queries_of(dataset).user_rows_Q)
        assert (ranking.rows_QK[:, 0] > 0).all()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("baselines: item-item filter")]
    assert len(lines) == len(tuning.EXPONENTS), "long work says how far it has come"
    values = {exponent: tuner._value("", tuner._rank_filter, exponent) for exponent in tuning.EXPONENTS}
    assert tuner.item_item_tuned()[1].endswith(f"{max(values, key=lambda e: values[e]):g}")
    monkeypatch.setattr(tuning, "MAX_ITEMS", 5)
    assert tuner.ease() == (None, "no EASE: it inverts a matrix of all pairs of items, and there are more than 5")


def test_without_a_validation_part_the_settings_are_the_defaults_and_not_said_to_be_tuned(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "ALS_STEPS", tuning.ALS_STEPS[:1])
    tuner = tuner_of(dataset, EvaluateConfig())
    vars(tuner)["_validation"] = SimpleNamespace(user_rows_Q=np.zeros(0, dtype=np.int64))
    why = "not tuned, for want of a validation part"
    assert tuner.item_item_tuned()[1] == f"item-item filter, {why}: popularity exponent 0.25"
    assert tuner.ease()[1] == f"EASE, {why}: regularisation 30"
    assert tuner.ials()[1] == f"iALS, {why}: {tuning.ALS_START}"


def test_a_setting_is_varied_as_long_as_that_is_better() -> None:
    values = {1: 5.0, 2: 3.0, 3: 4.0, 4: 6.0, 5: 6.0, 6: 9.0}
    assert [tuning._climb(list(values), start, values.__getitem__) for start in values] == [1, 4, 4, 4, 6, 6]


def test_a_small_log_gets_the_low_regularisation_that_it_wants(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 was the lowest value of EASE's, and on logs of some thousand interactions often the best for that alone."""
    tuner = tuner_of(dataset, EvaluateConfig())
    monkeypatch.setattr(Tuner, "_value", lambda _self, _name, _fit, of: -abs(np.log(of / 3.0)))
    assert tuner.ease()[1] == "EASE, tuned: regularisation 3"
    monkeypatch.setattr(Tuner, "_value", lambda _self, _name, _fit, of: -abs(np.log(of / 300.0)))
    assert tuner.ease()[1] == "EASE, tuned: regularisation 300"


def test_a_tuned_filter_of_some_users_says_so(dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    degree_U, _ = degrees(dataset.sequences("train"), len(dataset.items.ids))
    monkeypatch.setattr("towers.evaluation.baselines.item_filter.MAX_PAIRS", int((degree_U**2).sum()) // 20)
    tuner = tuner_of(dataset, EvaluateConfig())
    assert re.search(r", fitted on one user in \d+: more pairs than fit into memory$", tuner.item_item_tuned()[1])


def test_a_sample_of_users_is_one_for_tuning_too(dataset: PreparedDataset) -> None:
    tuner = tuner_of(dataset, EvaluateConfig(max_users=7))
    assert len(tuner._validation.user_rows_Q) == 7


def test_sequences_without_items_give_no_vectors() -> None:
    assert (solve(Sequences.nothing(3), torch.ones(2, 2), AlsSettings(0.1, 0.1, 2)) == 0).all()


def test_each_baseline_can_be_drawn() -> None:
    assert {baseline.value for baseline in Baseline} <= STYLES.keys()


def test_users_of_whom_nothing_is_known_get_the_same_items_from_all_that_are_no_popularity(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They got what was popular lately from the towers, which validation had chosen, and what ever was from the others.

    The towers were then ahead by what had nothing to do with them.
    """
    monkeypatch.setattr(tuning, "ALS_STEPS", tuning.ALS_STEPS[:1])
    asked = queries_of(dataset).take(np.arange(5))
    unknown = HeldOut(asked.user_rows_Q, asked.relevant, Sequences.nothing(len(dataset.users.ids)))
    lately_I = np.random.default_rng(0).permutation(len(interaction_counts(dataset.items, FittedSplits.train)))
    lately_I[0] = 0
    kinds = [Baseline.item_item, Baseline.item_item_tuned, Baseline.ease, Baseline.ials, Baseline.own_items]
    config = EvaluateConfig(baselines=kinds, seen=SeenItems.keep)
    rankings, _ = baseline_rankings(dataset, unknown, FittedSplits.train, config, None, lately_I)
    wanted_K = np.argsort(-lately_I)[: next(iter(rankings.values())).rows_QK.shape[1]]
    assert list(rankings) == [kind.value for kind in kinds]
    for name, ranking in rankings.items():
        assert (ranking.rows_QK[:, :10] == wanted_K[:10]).all(), name
