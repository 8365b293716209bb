"""Names of runs: equal configurations have equal names, by which a training resumes and a checkpoint is found again."""

import hashlib
import json
from functools import cache
from typing import Any

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.plugins import in_use
from data.artifacts.seals import NotSealed, is_sealed
from data.artifacts.structured import jsonable
from data.cluster.code_digest import CODE, code_digest
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from data.sources.event_types import EventType, EventTypes, Sign
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.checkpoint.tensor_files import CheckpointError
from towers.evaluation.config import SeenItems
from towers.model.config import ARCHITECTURE
from towers.sweeps.reuse.start import start_fingerprint
from towers.sweeps.trial import wants_same_code
from towers.training.config import PLACEMENT, Recipe

ADDED_TO_LOSS = {"negatives": {}, "weighted": True, "explicit": 1.0, "seen": "keep"}
ADDED_TO_TRAIN = {"validation_users": None, "start_from": None, "in_memory_rows": 200_000_000}
ADDED_TO_MODEL = {
    "context": False,
    "context_dropout": 0.2,
    "history_time": "none",
    "history_half_life_days": 30.0,
    "history_types": False,
    "tables": "whole",
    "hash_rows": 1_000_000,
}
ADDED_TO_RERANK = {"goals": {}, "experts": 1}
"""Keys that came to be after runs had been named, and their values with which earlier names stay valid."""
NEUTRAL_OF_FEATURES = {
    "kind": ("categorical", "multi_categorical", "numeric", "vector"),
    "max_values": (16,),
    "min_count": (1,),
}
"""Values of a dataset's features with which names have nothing of them, as they had before."""


def training_name(config: Recipe, dataset: PreparedDataset) -> str:
    """The name of a training: the dataset's name and a digest of everything that decides the towers' weights.

    In a sweep whose trials must be of the present code, the code is part of it: what other code has begun, or ended,
    does not go on.
    """
    code = f"-{present_code()[:8]}" if wants_same_code() else ""
    return f"{config.data.name}-{_digest(dataset, config.model.history_types, *_determining(config, dataset))}{code}"


def present_code() -> str:
    """The digest of the code of this process, as manifests of checkpoints hold it."""
    return _code(in_use())


def is_of_present_code(folder: Folder) -> bool:
    """Whether the code of this process has sealed a checkpoint."""
    return bool(folder.read_json(MANIFEST).get(CODE) == present_code())


def is_trained(folder: Folder) -> bool:
    """Whether a checkpoint is sealed and counts as done; a trial of a sweep may want one of the present code."""
    return is_sealed(folder) and (not wants_same_code() or is_of_present_code(folder))


def checkpoint_folder(config: Recipe, dataset: PreparedDataset, storage: Folder) -> Folder:
    """The folder of the checkpoint that a configuration trains.

    Its name has a digest of everything that decides the weights of the towers and of the re-ranker.
    """
    rerank = _without(jsonable(config.rerank), ADDED_TO_RERANK)
    digest = _digest(dataset, config.model.history_types, *_determining(config, dataset), rerank)
    return storage / "checkpoints" / f"{config.data.name}-{digest}"


@cache
def _code(plugins: tuple[str, ...]) -> str:
    return code_digest(*plugins)


def _determining(config: Recipe, dataset: PreparedDataset) -> list[Any]:
    """JSON values of everything but the dataset that decides the towers' weights."""
    loss = _without(jsonable(config.loss), ADDED_TO_LOSS)
    model = _without(jsonable(config.model), ADDED_TO_MODEL)
    placement = {*PLACEMENT, "num_workers"} if config.model.divides_rows else PLACEMENT
    train = {name: value for name, value in jsonable(config.train).items() if name not in placement}
    if (start := start_fingerprint(train["start_from"], dataset.folder)) is not None:
        train["start_from"] = start  # another checkpoint in its place makes another training
    seen = [] if config.evaluate.seen is SeenItems.mask else [config.evaluate.seen.value]
    cleared = [
        f"unknown {side} at zero"
        for side in ("user", "item")
        if config.model.clears_unknown(side, bool(dataset.manifest.get(f"{side}_features")))
    ]
    return [ARCHITECTURE, model, loss, _without(train, ADDED_TO_TRAIN), config.seed, *seen, *cleared]


def _without(values: dict[str, Any], neutral: dict[str, Any]) -> dict[str, Any]:
    """The values without those that are neutral."""
    return {key: value for key, value in values.items() if key not in neutral or value != neutral[key]}


def _digest(dataset: PreparedDataset, takes_types: bool, *values: Any) -> str:
    determining = [dataset.fingerprint, *values, *_reading(dataset, takes_types)]
    return hashlib.sha256(json.dumps(determining, sort_keys=True).encode()).hexdigest()[:10]


def _reading(dataset: PreparedDataset, takes_types: bool) -> list[Any]:
    """JSON values of how a training reads a dataset beyond what its files hold; empty where all of it is neutral.

    Two datasets may have equal files, and so equal fingerprints, and differ in the kind of a feature, in what an event
    type means, in whether their times are moments, or in what contexts and event types are called. Requests name these.

    Args:
        takes_types: whether the towers take the event types of histories.
    """
    manifest = dataset.manifest
    read: dict[str, Any] = {}
    for side in ("user_features", "item_features"):
        for feature in manifest.get(side, ()):
            others = {k: feature[k] for k, of in NEUTRAL_OF_FEATURES.items() if k in feature and feature[k] not in of}
            read |= {f"{side}.{feature['name']}": others} if others else {}
    types = EventTypes.of_manifest(manifest.get("event_types")).types
    read |= {f"event_types.{code}": said for code, of in enumerate(types.values()) if (said := _reading_of_type(of))}
    clock = manifest.get("clock")
    if context := manifest.get("context"):
        read["context"] = context
    if types and takes_types:
        read["event_type_names"] = list(types)
    if clock is not None and clock["has_clock"] != (clock["last"] > manifest["counts"]["raw_interactions"]):
        read["has_clock"] = clock["has_clock"]
    return [read] if read else []


def _reading_of_type(of: EventType) -> list[str]:
    """What an event type means that neither the weights nor the places of its interactions in the files show."""
    if of.sign is Sign.ignore:
        return ["ignored"] if of.is_kept else []
    used = {"seen": of.is_seen} | ({"relevant": of.relevant} if of.sign is Sign.positive else {"towers": of.towers})
    return [f"not {name}" for name, value in used.items() if not value]


def open_for(config: Recipe, storage: Folder, checkpoint: str | None) -> tuple[Checkpoint, PreparedDataset]:
    """Opens a checkpoint and the prepared dataset that it was trained on.

    Args:
        checkpoint: its folder; None means the checkpoint that this configuration trains.

    Raises:
        NotSealed: there is no checkpoint in the folder, or this configuration has not been trained.
        CheckpointError: it is damaged, or was trained on another dataset than `data` describes.
    """
    dataset = prepare(config.data, storage)
    folder = Folder.of(checkpoint) if checkpoint else checkpoint_folder(config, dataset, storage)
    if not checkpoint and not is_sealed(folder):
        raise NotSealed(
            f"checkpoint: none in {folder}, where training with these values would put it; run python -m towers.train"
            " with the same values first, or name another one (checkpoint=FOLDER)"
        )
    opened = open_checkpoint(folder)
    of = opened.manifest["dataset"]
    if of["fingerprint"] != dataset.fingerprint:
        raise CheckpointError(
            f"checkpoint {folder.name} was trained on dataset {of['name']} ({of['fingerprint'][:10]}), but data= gives"
            f" {config.data.name} ({dataset.fingerprint[:10]}): pass the data= it was trained with"
        )
    return opened, dataset
