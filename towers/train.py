"""Training both towers with Ray Train: `python -m towers.train data=movietweetings data.source.path=...`.

The driver prepares the dataset, lets Ray Train fit the towers, fits the re-ranker on validation, measures both on the
test part, and seals all of it as a checkpoint. Run again after a kill, the same command goes on from the last whole
epoch and ends with the same weights.
"""

from typing import TYPE_CHECKING, Any

import ray.train
import torch

from data.prepare import Say, jsonable, prepare
from data.prepared import PreparedDataset
from data.split import TRAIN, VALIDATION
from data.storage import Folder, is_sealed
from towers.build import FitOn, build, fit_counts
from towers.checkpoint import Checkpoint, load_weights, open_checkpoint, save
from towers.context import Context, lift
from towers.cost import cost
from towers.evaluate import present
from towers.fit_reranker import fit
from towers.job import Job, check
from towers.lineage import lineage
from towers.measure import evaluate, measure
from towers.metrics import hits
from towers.ranking import HeldOut, embed, lists_of, queries_of, retrieve
from towers.report import report_of
from towers.reranker import Reranker
from towers.runs import checkpoint_folder, training_name
from towers.smoothing import smooth
from towers.trainer import large, sides, trainer
from towers.trial import Pruned, current
from towers.two_tower import TwoTower, all_item_vectors

if TYPE_CHECKING:
    from conf.schema import Config


def train(config: "Config", dataset: PreparedDataset, storage: Folder, say: Say = print) -> Checkpoint:
    """Trains and seals a checkpoint; where a whole one of the same run exists, opens it instead."""
    folder = checkpoint_folder(config, dataset, storage)
    if is_sealed(folder):
        say(f"train: {folder.name} is already trained")
        return open_checkpoint(folder)
    check(config.model, config.loss, config.train)
    has_validation = config.train.fit_on is FitOn.train and bool(dataset.manifest["counts"][VALIDATION])
    if config.train.patience and config.train.fit_on is FitOn.train and not has_validation:
        raise ValueError("train.patience: there is no validation part to stop early on; set train.patience=0")
    queries_of(dataset)  # raises where nothing could be measured in the end
    say(f"train: {folder.name}, up to {config.train.epochs} epochs on {config.train.num_workers} worker(s)")
    result = _fit_towers(config, dataset, storage)
    model = _best_model(config, dataset, result)
    counts_I = fit_counts(dataset.items, config.train.fit_on)
    torch.manual_seed(config.seed)
    _, items = sides(dataset, config.train.fit_on)
    context = Context.of(dataset, config.train.fit_on.splits)
    reranker = Reranker(config.rerank, all_item_vectors(model).clone(), counts_I, items, context)
    if reranker.lift_VI is not None:
        reranker.lift_VI.copy_(torch.from_numpy(lift(context, dataset, config.train.fit_on.splits)))
    totals = {name: value for name, value in (result.metrics or {}).items() if isinstance(value, int | float)}
    if has_validation:
        totals["best_value"], fitted = _validate(model, reranker, dataset, config)
        say("re-ranker, ndcg@10 on held-out queries: " + "  ".join(f"{k} {v:.4f}" for k, v in fitted.items()))
    report = evaluate(model, reranker, dataset, config.train.fit_on, config.evaluate)
    manifest = _manifest(config, dataset, totals) | report.as_json()
    save(folder, manifest, model, reranker, dataset, dataset.sequences(TRAIN, VALIDATION))
    return open_checkpoint(folder)


def _fit_towers(config: "Config", dataset: PreparedDataset, storage: Folder) -> ray.train.Result:
    job = Job(
        name=training_name(config, dataset),
        seed=config.seed,
        model=config.model,
        loss=config.loss,
        train=config.train,
        evaluate=config.evaluate,
        tracking=config.tracking,
        resolved=jsonable(config),
        trial=current(),
        large=large(dataset, config.model, config.train, config.seed),
    )
    result = trainer(job, dataset, storage).fit()
    if (metrics := result.metrics or {}).get("pruned"):
        best = metrics["best_value"]
        at_best = "" if best is None else f", {config.train.monitor} {best:.4g} at best"
        raise Pruned(f"after epoch {metrics['epoch']}{at_best}")
    return result


def _best_model(config: "Config", dataset: PreparedDataset, result: ray.train.Result) -> TwoTower:
    model = build(config.model, *sides(dataset, config.train.fit_on), seed=config.seed)
    with result.checkpoint.as_directory() as path:
        load_weights(model, Folder.of(path), "best.safetensors")
    if config.model.smoothing:
        smooth(model, dataset.sequences(*config.train.fit_on.splits))
    return model.eval()


def _validate(
    model: TwoTower, reranker: Reranker, dataset: PreparedDataset, config: "Config"
) -> tuple[float, dict[str, float]]:
    """On the validation part: the value by `train.monitor` of the towers as they are saved, smoothed ones included, and
    the re-ranker's fit, to candidates as retrieval returns them from what was known before it.
    """
    held_out, num_items = HeldOut.of(dataset, VALIDATION), len(dataset.items.ids)
    counts_I, batch_size = fit_counts(dataset.items, FitOn.train), config.evaluate.batch_size
    queries = embed(model, held_out, batch_size)
    found = retrieve(queries, held_out, counts_I, reranker.item_ID, batch_size)
    value = measure(found, held_out, num_items, list(config.evaluate.ks))[config.train.monitor]
    hit_QK = hits(found.rows_QK, held_out.relevant, num_items)
    by_towers = torch.from_numpy(found.by_towers_Q.nonzero()[0])
    lists = lists_of(queries, found, held_out, reranker.context)
    return value, fit(reranker, lists[by_towers], torch.from_numpy(hit_QK)[by_towers], config.seed)


def _manifest(config: "Config", dataset: PreparedDataset, totals: dict[str, Any]) -> dict[str, Any]:
    resolved = jsonable(config)
    return {
        "model": resolved["model"],
        "rerank": resolved["rerank"],
        "fit_on": config.train.fit_on.value,
        "config": {name: resolved[name] for name in ("data", "model", "loss", "train", "rerank", "seed")},
        "dataset": {"name": config.data.name, "fingerprint": dataset.fingerprint, "folder": str(dataset.folder)},
        "lineage": lineage(config.tracking, training_name(config, dataset)),
        "training": totals,
    }


def demand(config: "Config") -> tuple[list[dict[str, float]], dict[str, str]]:
    """What Ray Train reserves: a bundle per worker, and the labels of the nodes where they may run."""
    return [config.train.resources()] * config.train.num_workers, dict(config.train.labels)


def task(config: "Config") -> dict[str, Any]:
    """Entry point: prepares where needed, trains, measures on the test part."""
    from conf.session import connect

    connect(config.cluster)
    storage = Folder.of(config.storage.root)
    checkpoint = train(config, prepare(config.data, storage), storage)
    training = {
        "checkpoint": str(checkpoint.folder),
        "training": checkpoint.manifest["training"],
        "cost": cost(checkpoint),
    }
    return training | present(report_of(checkpoint.manifest), checkpoint.name, config)


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.train")
