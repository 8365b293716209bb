"""Names of runs: equal configurations have equal names, by which a training resumes and a checkpoint is found again."""

import hashlib
import json
from contextlib import suppress
from functools import cache
from typing import Any

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.plugins import in_use
from data.artifacts.seals import NotSealed, is_sealed
from data.artifacts.secrets import recordable
from data.artifacts.structured import jsonable
from data.cluster.code_digest import CODE, code_digest
from data.cluster.typed_commands import override
from data.dataset.inputs import input_states
from data.dataset.preparation import dataset_name, prepare
from data.dataset.prepared import PreparedDataset
from data.sources.event_types import EventType, EventTypes, Sign
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.checkpoint.opening.named import checkpoint_at, open_named
from towers.evaluation.config import SeenItems
from towers.model.config import ARCHITECTURE
from towers.sweeps.reuse.start import start_fingerprint
from towers.sweeps.trial import wants_same_code
from towers.training.config import PLACEMENT, Recipe

ADDED_TO_LOSS = {"negatives": {}, "weighted": True, "explicit": 1.0, "seen": "keep"}
ADDED_TO_TRAIN = {"validation_users": None, "start_from": None, "in_memory_rows": 200_000_000, "stop_after": None}
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


def open_for(
    config: Recipe, storage: Folder, checkpoint: str | None, has_data: bool = True
) -> tuple[Checkpoint, PreparedDataset]:
    """Opens a checkpoint and the prepared dataset that it was trained on.

    Args:
        checkpoint: its folder, or that of the run that made it (`checkpoint_at`). None means the checkpoint that this
            configuration trains on the log as it is now.
        has_data: whether the values of `data` were given beside `checkpoint`, and so must describe its dataset.

    Raises:
        NotSealed: there is no checkpoint in the folder, or its dataset is gone; or this configuration has not been
            trained on the log as it is now. Where it was on an earlier state of the log, the message names the
            checkpoint of that.
        CheckpointError: it is damaged, or was trained on another dataset than `data` describes.
    """
    if checkpoint:
        return open_named(checkpoint_at(checkpoint, storage), storage, config.data if has_data else None)
    is_prepared = is_sealed(storage / "datasets" / dataset_name(config.data))
    if not is_prepared and (earlier := _trained_earlier(config, storage)) and _has_other_files(config, earlier[0]):
        raise NotSealed(_of_before(earlier[1]))  # to prepare the whole log as it is now would be of no use
    dataset = prepare(config.data, storage)
    folder = checkpoint_folder(config, dataset, storage)
    if is_sealed(folder):
        return open_checkpoint(folder), dataset
    if earlier := _trained_earlier(config, storage):
        raise NotSealed(_of_before(earlier[1]))
    raise NotSealed(
        f"checkpoint: none in {folder}, where training with these values would put it; run python -m towers.train"
        " with the same values first, or name another one (checkpoint=FOLDER)"
    )


def _trained_earlier(config: Recipe, storage: Folder) -> tuple[PreparedDataset, Folder] | None:
    """The newest state of the log on which this configuration was trained, prepared, and its checkpoint's folder."""
    same, found = recordable(config.data.as_json()), []
    for folder in (storage / "datasets").subfolders():
        if not folder.name.startswith(f"{config.data.name}-"):
            continue
        with suppress(NotSealed):  # it is damaged, or half there
            dataset = PreparedDataset.open(folder)
            checkpoint = checkpoint_folder(config, dataset, storage)
            if dataset.manifest.get("config") == same and is_sealed(checkpoint):
                found.append((dataset, checkpoint))
    return max(found, key=lambda each: each[0].log_read.get("log_read_us", 0), default=None)


def _has_other_files(config: Recipe, dataset: PreparedDataset) -> bool:
    """Whether the log has other files than when it was prepared, or some of another size, so that it differs."""
    before, now = dataset.manifest.get("inputs", []), recordable(input_states(config.data.input_files()))
    return bool(before) and [state[:2] for state in before] != [state[:2] for state in now]


def _of_before(folder: Folder) -> str:
    """What to do where a configuration was trained on an earlier state of the log alone."""
    return (
        f"checkpoint: the log has changed since these values were trained, which made {folder}, and they have not"
        " been trained on it as it is now; to take that one, as python -m serve.publish does, give"
        f" {override('checkpoint', str(folder))} in the place of the values of the recipe; or run python -m"
        " towers.train with them again"
    )
