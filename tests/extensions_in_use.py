"""Uses the loss, sampler, history encoder, feature kind and index back end of docs/extending.md.

tests/test_extending.py runs this file in a copy of the packages to which the examples were added.
"""

import asyncio
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from conf.schema import load
from data.dataset.catalogue import Catalogue
from data.dataset.vocabulary import Vocabulary
from data.sequences.batches import TrainBatch
from data.sources.feature_kinds.kind import feature_kind
from data.sources.schema import Feature
from data.sources.source import sources
from serve.filters.masks import FilterColumns
from serve.index.backends import INDEX_BACKENDS
from serve.index.backends.published_items import PublishedItems
from serve.index.collection import write_collection
from serve.index.collection_names import collection_name
from serve.index.config import IndexConfig
from serve.index.connection import connected
from tests.documentation import EXTENDING, check_overrides, python_commands
from tests.towers.model.test_two_tower import ITEMS, USERS, model
from towers.training.loop import Objective, train_epoch
from towers.training.losses import LOSSES
from towers.training.negatives import NEGATIVE_SAMPLERS
from towers.training.optimizer import Optimizers

NUM_ITEMS, DIM = 300, 8
COLLECTION = collection_name("r")


def use_the_loss_by_hand() -> None:
    """Violations are 1 + 2 - 1 = 2, 1 + 0 - 1 = 0 (of the same item), 1 + 0 - 3 < 0, and 1 + 2.5 - 3 = 0.5."""
    query = torch.tensor([[2.0, 0.0], [0.0, 2.5]], requires_grad=True)
    positive = torch.tensor([1.0, 3.0], requires_grad=True)
    config = load(["loss=hinge"]).loss
    loss = LOSSES["hinge"]()(query, positive, torch.eye(2), None, torch.tensor([[0], [1]]), config)
    loss.backward()
    assert abs(loss.item() - 2.5 / 4) < 1e-6, loss
    assert positive.grad is not None
    assert positive.grad.tolist() == [-0.25, -0.25]


def train_a_step_with_loss_sampler_and_encoder() -> None:
    """The same batch again and again: its loss falls."""
    config = load(["loss=hinge", "+loss.negatives.square_root=32", "model.history=latest"])
    assert config.model.history == "latest"
    towers, counts_I = model(history="latest"), np.arange(ITEMS)
    random = np.random.default_rng(3)
    arrays = random.integers(1, USERS, 8), random.integers(1, ITEMS, 8), random.integers(0, ITEMS, (8, 4))
    batch = TrainBatch(*(array.astype(np.int32) for array in arrays))
    optimizers = Optimizers(towers, 0.05, 0.0)
    steps = [batch] * 20
    objective, generator = Objective(config.loss, counts_I), torch.Generator().manual_seed(1)
    losses = list(train_epoch(towers, optimizers, objective, steps, generator, torch.device("cpu"), [1.0] * len(steps)))
    assert all(np.isfinite(losses))
    assert losses[-1] < losses[0], losses


def draw_by_the_sampler() -> None:
    """Draws come as often as `expected_counts` says, and never row 0."""
    counts_I = np.array([0, 99, 24, 0])
    sampler = NEGATIVE_SAMPLERS["square_root"](counts_I)
    drawn = np.bincount(sampler.draw(16_000, torch.Generator().manual_seed(0)).numpy(), minlength=4)
    assert drawn[0] == 0
    assert np.allclose(drawn[1:], sampler.expected_counts(16_000)[1:], rtol=0.1)


def compose_the_source() -> None:
    """Its yaml leads to its class."""
    config = load(["data=json_lines", "data.source.path=events.jsonl"])
    assert type(config.data.source) is sources()["json_lines"]
    assert config.data.source.files() == ["events.jsonl"]


def type_the_commands() -> None:
    """Each command of the page composes."""
    shown = [command for command in python_commands() if command.file == EXTENDING]
    commands = [c for c in shown if not {"--config-dir", "plugins=[shop]"} & set(c.words)]  # those are a plugin's
    assert len(commands) >= 5
    for command in commands:
        check_overrides(command)


def read_the_feature_kind() -> None:
    """Text becomes a list of hashtags."""
    kind = feature_kind("hashtags")
    column = pa.chunked_array([pa.array(["a #new thing", None, "#sale #new"])])
    assert kind.cast(column, "|").to_pylist() == [["#new"], [], ["#sale", "#new"]]
    assert Feature(name="tags", kind=kind).kind is kind


async def search_by_the_back_end(config: IndexConfig, columns: FilterColumns, vectors: np.ndarray) -> None:
    """The nearest item of each vector is the item itself, exactly."""
    items = PublishedItems(release_id="r", collection=COLLECTION, num_items=NUM_ITEMS, dim=DIM, columns=lambda: columns)
    index = await INDEX_BACKENDS[config.kind](config, items)
    assert not index.approximate
    found = [(await index.search(vector, 1)).rows[0] for vector in vectors[:5]]
    assert found == [1, 2, 3, 4, 5]
    await index.close()


def publish_and_search(folder: Path) -> None:
    """Through Milvus Lite, with `exact_up_to` at 0, which the back end does not look at."""
    config = IndexConfig(kind="exact", uri=str(folder / "milvus.db"), exact_up_to=0)
    features = (Feature(name="group", kind=feature_kind("categorical")),)
    vectors = np.random.default_rng(0).standard_normal((NUM_ITEMS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = pa.table(
        {
            "row": pa.array(range(1, NUM_ITEMS + 1), pa.int32()),
            "item_id": [f"i{i}" for i in range(NUM_ITEMS)],
            "title": [""] * NUM_ITEMS,
            "group": ["g"] * NUM_ITEMS,
            "train_count": np.ones(NUM_ITEMS, np.int64),
            "validation_count": np.zeros(NUM_ITEMS, np.int64),
        }
    )
    catalogue = Catalogue("item_id", table, features, {"group": Vocabulary(pa.array([], pa.string()))})
    with_vectors = table.append_column("vector", pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM))
    with connected(config):
        assert write_collection(config, COLLECTION, [with_vectors], features, DIM) == NUM_ITEMS
        asyncio.run(search_by_the_back_end(config, FilterColumns(catalogue.table, features), vectors))


if __name__ == "__main__":
    use_the_loss_by_hand()
    train_a_step_with_loss_sampler_and_encoder()
    draw_by_the_sampler()
    compose_the_source()
    type_the_commands()
    read_the_feature_kind()
    publish_and_search(Path.cwd())
    print("done")
