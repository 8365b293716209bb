"""Names of runs: what was trained by earlier versions is found again."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.artifacts.seals import NotSealed, sealing
from data.dataset.catalogue import feature_to_json
from data.dataset.clock import Clock
from data.dataset.prepared import PreparedDataset
from data.dataset.split import VALIDATION
from data.sources.event_types import EventType, EventTypes, Sign
from data.sources.schema import Feature
from towers.checkpoint.checkpoint import Checkpoint
from towers.model.build import encode_catalogues
from towers.model.config import FittedSplits
from towers.model.context import Context
from towers.training.job import Job
from towers.training.negatives import NEGATIVE_SAMPLERS
from towers.training.negatives.uniform import UniformSampler
from towers.training.runs import _determining, checkpoint_folder, open_for, training_name
from towers.training.stages import fit_towers, measured_fit
from towers.training.stages.fit_towers import FittedTowers


class Dataset:
    folder = Folder.of("var")
    fingerprint = "9467ba103285f919737c0971a2527b2a5146bf0bcd7235641a82828b4f442aba"

    def __init__(self, **manifest: Any) -> None:
        self.manifest = manifest


DATASET = cast(PreparedDataset, Dataset())
SMALL = [
    "data.name=fixture",
    "data.source.num_users=60",
    "data.source.num_items=40",
    "data.source.num_clusters=4",
    "data.source.interactions_per_user=12",
    "model.embedding_dim=8",
    "model.smoothing=0.1",
    "train.epochs=2",
    "train.batch_size=64",
    "loss.num_uniform=16",
]


@pytest.mark.parametrize(
    ("overrides", "training", "checkpoint"),
    [
        (SMALL, "fixture-ddaadd614c", "fixture-dff3a6de22"),
        ([], "synthetic-fac8523ae5", "synthetic-6ae7c832f8"),
        (["model=transformer", "loss=full_softmax"], "synthetic-40f9b49c2a", "synthetic-4034afe4fd"),
        (["loss=bpr"], "synthetic-25e51476a3", "synthetic-7e49de3b7f"),
        (["loss=bilateral"], "synthetic-48f225f1c9", "synthetic-1ae6d53b21"),
    ],
)
def test_runs_keep_their_names(overrides: list[str], training: str, checkpoint: str) -> None:
    config = load(overrides)
    assert training_name(config, DATASET) == training
    assert checkpoint_folder(config, DATASET, Folder.of("var")).name == checkpoint


def test_the_number_of_workers_does_not_count_where_each_has_its_rows() -> None:
    def names(tables: str, workers: int) -> tuple[str, str]:
        config = load([f"model.tables={tables}", f"train.num_workers={workers}"])
        return training_name(config, DATASET), checkpoint_folder(config, DATASET, Folder.of("var")).name

    assert names("whole", 1) == ("synthetic-fac8523ae5", "synthetic-6ae7c832f8")
    assert names("whole", 1) != names("whole", 2)
    assert names("sharded", 1) == names("sharded", 2) != names("whole", 2)
    assert names("hashed", 1) != names("hashed", 2)


def test_the_checkpoint_that_it_starts_from_counts_by_what_is_in_it(tmp_path: Path) -> None:
    config = load([f"train.start_from={tmp_path / 'start'}"])

    def names() -> tuple[str, str]:
        return training_name(config, DATASET), checkpoint_folder(config, DATASET, Folder.of("var")).name

    found = [names()]  # it is not there yet
    for content in (b"one", b"two"):
        with sealing(Folder.of(str(tmp_path / "start")), {"fit_on": "train"}) as folder:
            folder.write_bytes("weights", content)
        found.append(names())
        assert names() == found[-1]
    assert len(set(found)) == 3
    moved = load([f"train.start_from={(tmp_path / 'start').rename(tmp_path / 'moved')}"])
    assert training_name(moved, DATASET) == found[-1][0], "the same weights elsewhere"


def test_where_it_runs_does_not_count_and_further_negatives_do() -> None:
    overrides = (
        [], ["train.threads=3"], ["loss.log_q=false"], ["train.validation_users=9"], ["train.stop_after=9"],
    )  # fmt: skip
    names = [training_name(load(each), DATASET) for each in overrides]
    assert names[0] == names[1] and len(set(names)) == 4
    timed = [training_name(load([f"model.{each}"]), DATASET) for each in ("history_time=recency", "history_types=true")]
    assert len({*names, *timed}) == 6
    NEGATIVE_SAMPLERS.register("more_uniform")(UniformSampler)
    assert training_name(load(["+loss.negatives.more_uniform=4"]), DATASET) not in names


def test_towers_whose_unknown_ids_start_at_zero_have_names_of_their_own() -> None:
    """Without id dropout, and beside features: what an earlier version trained of such a log is not taken for it."""
    described = cast(PreparedDataset, Dataset(item_features=[feature_to_json(Feature(name="price", kind="numeric"))]))
    for overrides, differs in (
        (["model=transformer"], True),
        ([], False),
        (["model.id_dropout=0", "model.history=none"], True),
    ):
        config = load(overrides)
        assert (training_name(config, described) != training_name(config, DATASET)) is differs, overrides
    alone, beside_history = (load(["model.id_dropout=0", f"model.history={name}"]) for name in ("none", "pooled"))
    assert _determining(alone, DATASET)[-1] == alone.seed
    assert _determining(beside_history, DATASET)[-1] == "unknown user at zero"


def test_datasets_of_equal_files_that_are_read_otherwise_have_runs_of_their_own() -> None:
    """A feature's kind, the meaning of an event type and what times are stand in the manifest alone."""

    def feature(kind: str = "numeric", **values: Any) -> dict[str, Any]:
        return {"item_features": [feature_to_json(Feature(name="price", kind=kind, **values))]}

    def event(**values: Any) -> dict[str, Any]:
        return {"event_types": EventTypes({"buy": EventType(), "hide": EventType(**values)}).as_manifest()}

    def clock(has_clock: bool, last: int) -> dict[str, Any]:
        return {"clock": Clock(has_clock, False, 0, last).as_manifest(), "counts": {"raw_interactions": 9}}

    same = [
        feature(), feature(column="cost"), event(), event(weight=2.0), event(sign=Sign.ignore), event(towers=False),
        event(sign=Sign.negative), clock(True, 99), clock(False, 9),
    ]  # fmt: skip
    others = [
        feature("numeric_log"), feature("numeric_quantiles"), feature("text"), feature("categorical", min_count=2),
        feature("categorical", max_values=3), event(seen=False), event(relevant=False),
        event(sign=Sign.ignore, seen=True), event(sign=Sign.negative, seen=False),
        event(sign=Sign.negative, seen=False, towers=False), clock(False, 99), clock(True, 9),
    ]  # fmt: skip
    config, datasets = load([]), [cast(PreparedDataset, Dataset(**manifest)) for manifest in (*same, *others)]
    names = [training_name(config, of) for of in datasets]
    assert set(names[: len(same)]) == {"synthetic-fac8523ae5"}, "they keep the name that they had"
    assert len(set(names)) == 1 + len(others) - 1, "a type that is not seen is so whatever its sign"
    folders = {checkpoint_folder(config, of, Folder.of("var")).name for of in datasets}
    assert len(folders) == len(set(names))


def test_what_requests_call_contexts_and_event_types_counts() -> None:
    """These names are in no file of a dataset, and the endpoint has them of the checkpoint."""

    def name(model: str = "history_types=false", **manifest: Any) -> str:
        return training_name(load([f"model.{model}"]), cast(PreparedDataset, Dataset(**manifest)))

    def types(*names: str) -> dict[str, Any]:
        return {"event_types": EventTypes(dict.fromkeys(names, EventType())).as_manifest()}

    assert name(context=[]) == name()
    assert len({name(), name(context=["device"]), name(context=["platform"])}) == 3
    assert len({name(context=["device", "daypart"]), name(context=["daypart", "device"])}) == 2
    taken = "history_types=true"
    assert len({name(taken, **types("buy", "view")), name(taken, **types("buy", "visit")), name(taken)}) == 3
    assert name(**types("buy", "view")) == name(**types("buy", "visit")) == name(), "towers that do not know of types"


def test_a_config_that_was_not_trained_says_to_train_it(tiny: Config, dataset: PreparedDataset) -> None:
    with pytest.raises(NotSealed) as caught:
        open_for(replace(tiny, seed=987), Folder.of(tiny.storage.root), None)
    text = str(caught.value)
    assert text.startswith("checkpoint: none in ")
    assert "run python -m towers.train with the same values first, or name another one (checkpoint=FOLDER)" in text


def test_towers_of_the_same_name_are_trained_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trials of a sweep over `rerank` would delete each other's saved epochs; real Ray Train would take minutes."""
    running: list[str] = []
    most: list[int] = []

    def fit(name: str) -> SimpleNamespace:
        running.append(name)
        most.append(running.count(name))
        time.sleep(0.2)
        running.remove(name)
        return SimpleNamespace(metrics={})

    monkeypatch.setattr(fit_towers, "trainer", lambda job, *_: SimpleNamespace(fit=lambda: fit(job.name)))
    with ThreadPoolExecutor(3) as pool:
        jobs = [cast(Job, SimpleNamespace(name=name, code="", epochs=1)) for name in ("a", "a", "b")]
        list(pool.map(lambda job: fit_towers._run(job, DATASET, Folder.of(str(tmp_path)), print), jobs))
    assert len(most) == 3 and max(most) == 1


def test_a_reranker_that_is_not_fitted_says_why(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured_fit, "fit_reranker", lambda *_: {})
    users, items = encode_catalogues(dataset.users, dataset.items, FittedSplits.train)
    towers = FittedTowers(
        fit_on=FittedSplits.train,
        model=checkpoint.model,
        users=users,
        items=items,
        item_vectors_ID=checkpoint.item_vectors_ID,
        context=Context.of(dataset, FittedSplits.train.splits),
        totals={},
        code=None,
    )
    orders = checkpoint.ties, checkpoint.popularity_I
    _, said = measured_fit.fit_reranker_on(towers, checkpoint.reranker, dataset, VALIDATION, tiny, *orders)
    assert re.match(
        r": not fitted, the validation part has \d+ users with items that are new to them, the towers place \d+ of"
        r" these, and retrieve such an item for \d+: too few",
        said,
    )
