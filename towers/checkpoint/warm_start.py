"""Gives fresh towers the weights of a checkpoint, whose dataset may have had fewer users, items and values.

Rows of ids and of feature values are found by what they stand for. What the checkpoint has not learned starts fresh.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from data.dataset.vocabulary import Vocabulary
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.tensor_files import CheckpointError
from towers.model.context import Context
from towers.model.features import FeatureEncoder
from towers.model.layers import IdEmbedding
from towers.model.numbers.buckets import Buckets
from towers.model.numbers.scale import Scale
from towers.model.tables.hashed import hashed_tables
from towers.model.two_tower import TwoTower

OF_SMOOTHING = "neighbours_ID"
"""What smoothing fills in after training; it starts at zero."""

OF_FEATURES = ("user_features.", "item_features.")
"""Weights of features. A feature that is new, or whose numbers are taken otherwise now, starts fresh."""


@torch.no_grad()
def warm_start(
    model: TwoTower,
    source: Checkpoint,
    ids: tuple[Vocabulary, Vocabulary],
    encoders: tuple[FeatureEncoder, FeatureEncoder],
) -> None:
    """Copies weights into a model, in place.

    Args:
        ids: of the model's users and items.
        encoders: of the features of the model's users and items.

    Raises:
        CheckpointError: the checkpoint has towers of another shape.
    """
    state, learned = model.state_dict(), source.model.state_dict()
    rows, columns = dict(_rows(model, source, ids, encoders)), dict(_number_columns(source, encoders))
    _check_hashed(model, source, rows)
    for name, weight in state.items():
        if name == OF_SMOOTHING:
            continue
        before = learned.get(name)
        if name in rows and _is_hashed(model, name):
            weight.copy_(learned[name])
        elif before is not None and name in rows and before.shape[1:] == weight.shape[1:]:
            is_known = torch.from_numpy(rows[name] > 0)
            is_known[0] = True  # row 0 stands for what is unknown, in both
            weight[is_known] = before[torch.from_numpy(rows[name])[is_known]]
        elif before is not None and name in columns and len(before) == len(weight):
            now, then = columns[name]
            weight.index_copy_(1, now, before.index_select(1, then))
        elif before is not None and name not in rows and before.shape == weight.shape:
            weight.copy_(before)
        elif not name.startswith(OF_FEATURES):
            shape = "no such weights" if before is None else f"shape {_formatted(before)}"
            raise CheckpointError(
                f"train.start_from: in {source.folder}, {name} has {shape}, and these towers need {_formatted(weight)};"
                " give model the values that it was trained with, or set train.start_from=null"
            )
    if not source.model.config.id_dropout:
        model.clear_unknown()  # of a checkpoint of before, which drew what nothing trained


def _check_hashed(model: TwoTower, source: Checkpoint, rows: dict[str, np.ndarray]) -> None:
    """Raises CheckpointError where a table is hashed, and the checkpoint has hashed the same rows to other places."""
    weights, learned = (dict(of.named_parameters()) for of in (model, source.model))
    for name, before_N in rows.items():
        is_hashed = [_is_hashed(of, name) for of in (model, source.model)]
        if name not in weights or not any(is_hashed):
            continue
        is_known = before_N > 0
        if not all(is_hashed) or weights[name].shape != learned[name].shape:
            reason = (
                "is not hashed as this training hashes it; give model.tables the same value, and model.hash_rows the"
                " same or, where the log has grown beyond it, more than there are ids"
            )
        elif (before_N != np.arange(len(before_N)))[is_known].any():
            reason = "is hashed by rows, and what was added to the log since has moved them; start fresh"
        else:
            continue
        raise CheckpointError(f"train.start_from: in {source.folder}, {name} {reason}, or set train.start_from=null")


def _is_hashed(model: TwoTower, name: str) -> bool:
    table = hashed_tables(model).get(name)
    return table is not None and table.is_hashed


def _rows(
    model: TwoTower,
    source: Checkpoint,
    ids: tuple[Vocabulary, Vocabulary],
    encoders: tuple[FeatureEncoder, FeatureEncoder],
) -> Iterator[tuple[str, np.ndarray]]:
    """The names of tables, and for each row of the model's which row of the checkpoint's stands for the same."""
    sides = (("user", source.users, source.model.user_ids), ("item", source.items, source.model.item_ids))
    for (side, catalogue, known), of, encoder in zip(sides, ids, encoders, strict=True):
        rows = catalogue.ids.rows_of(of)
        if isinstance(known, IdEmbedding):
            yield f"{side}_ids.table.weight", np.where(known.known_N.numpy()[rows], rows, 0)
        for name, values in encoder.vocabularies.items():
            before_values = catalogue.vocabularies.get(name)
            if before_values is not None:
                yield f"{side}_features.tables.{name}.weight", before_values.rows_of(values)
        scales = FeatureEncoder.of_json(catalogue, source.manifest[f"{side}_scales"]).scales
        for name, scale in encoder.scales.items():
            if isinstance(scale, Buckets) and isinstance(before := scales.get(name), Buckets):
                yield f"{side}_features.tables.{name}.weight", before.rows_of(scale)
    yield "context_values.weight", _context_rows(model.context, source.model.context)
    if model.event_types is not None and source.model.event_types is not None:
        yield "event_types.values.weight", source.model.event_types.rows_of(model.event_types.names)


def _number_columns(
    source: Checkpoint, encoders: tuple[FeatureEncoder, FeatureEncoder]
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """The names of the weights of numbers, and which of their columns stand for the same as which of the checkpoint's.

    A feature has two columns (`EncodedFeatures.numbers_NF`): its number, and whether that is missing.
    """
    for side, catalogue, encoder in zip(("user", "item"), (source.users, source.items), encoders, strict=True):
        earlier = FeatureEncoder.of_json(catalogue, source.manifest[f"{side}_scales"])
        now, then = (
            {name: s.is_log for name, s in of.scales.items() if isinstance(s, Scale)} for of in (encoder, earlier)
        )
        same = [name for name in now if now[name] == then.get(name)]
        at_now, at_then = (
            torch.tensor([at + list(of).index(name) for at in (0, len(of)) for name in same], dtype=torch.int64)
            for of in (now, then)
        )
        yield f"{side}_features.linear.weight", (at_now, at_then)


def _context_rows(context: Context, before: Context) -> np.ndarray:
    """int64 [V]: the row before of each value of the context features."""
    found, first = [np.zeros(1, dtype=np.int64)], {}
    num = 0
    for name, vocabulary in before.vocabularies.items():
        first[name], num = num, num + len(vocabulary) - 1
    for name, vocabulary in context.vocabularies.items():
        known = before.vocabularies.get(name, Vocabulary())
        rows = known.rows_of(vocabulary)[1:]
        found.append(np.where(rows > 0, rows + first.get(name, 0), 0))
    return np.concatenate(found)


def _formatted(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
