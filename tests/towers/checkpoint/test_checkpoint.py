"""A checkpoint is opened whole or not at all: every damage is named."""

import json
import shutil
import time
from collections.abc import Callable
from copy import deepcopy as copy_of
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import safetensors.torch
import torch
from pyarrow import fs

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import NotSealed
from data.dataset.prepared import PreparedDataset
from towers.checkpoint import batch_embedding
from towers.checkpoint.batch_embedding import item_vectors
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint, save
from towers.checkpoint.item_tower import open_item_tower
from towers.checkpoint.tensor_files import CheckpointError
from towers.model.build import encode_catalogues
from towers.model.config import FittedSplits
from towers.model.two_tower import all_item_vectors


@pytest.fixture
def copy(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint.folder.path, tmp_path / checkpoint.name))


def sealed_again(folder: Path) -> Folder:
    """The folder with a manifest that agrees with its files, as a forger would write it."""
    at = Folder.of(str(folder))
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {name: at.sha256(name) for name in at.files()}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return at


def with_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


def test_what_was_saved_opens(copy: Path, checkpoint: Checkpoint) -> None:
    again = open_checkpoint(Folder.of(str(copy)))
    assert again.manifest == checkpoint.manifest
    assert torch.equal(again.item_vectors_ID, checkpoint.item_vectors_ID)


@pytest.mark.parametrize("name", ["model.safetensors", "items.parquet", "sequences.safetensors"])
def test_a_flipped_bit_is_found(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(bytes(content))
    with pytest.raises(NotSealed, match=f"{name}: missing or changed"):
        open_checkpoint(Folder.of(str(copy)))


def test_a_missing_file_and_a_missing_manifest(copy: Path) -> None:
    (copy / "users.parquet").unlink()
    with pytest.raises(NotSealed, match=r"users\.parquet: missing"):
        open_checkpoint(Folder.of(str(copy)))
    (copy / MANIFEST).unlink()
    with pytest.raises(NotSealed, match="no checkpoint there"):
        open_checkpoint(Folder.of(str(copy)))


def test_a_dataset_is_no_checkpoint(checkpoint: Checkpoint, dataset) -> None:
    with pytest.raises(NotSealed, match="holds a 'dataset', not a 'checkpoint'"):
        open_checkpoint(dataset.folder)


def test_nan_weights_are_refused(copy: Path) -> None:
    with_weights(copy, lambda t: t["item_ids.table.weight"][3].fill_(torch.nan))
    with pytest.raises(CheckpointError, match=r"item_ids\.table\.weight holds NaN"):
        open_checkpoint(sealed_again(copy))


def test_other_shapes_are_refused_on_one_line(copy: Path) -> None:
    with_weights(copy, lambda t: t.update({"item_ids.table.weight": torch.zeros(3, 2)}))
    with pytest.raises(CheckpointError, match="not the weights of this model") as caught:
        open_checkpoint(sealed_again(copy))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"\xff" * 8 + b"{}", b"torn" * 100])
def test_what_is_no_safetensors_file_is_refused(copy: Path, content: bytes) -> None:
    """An empty file, a pickle, a giant header, garbage."""
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        open_checkpoint(sealed_again(copy))


def test_item_vectors_are_computed_when_they_are_asked_for_and_once(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def counted(model: torch.nn.Module) -> torch.Tensor:
        computed.append(model)
        return all_item_vectors(model)

    monkeypatch.setattr("towers.checkpoint.opening.parts.all_item_vectors", counted)
    again = open_checkpoint(checkpoint.folder)
    assert again.counts_I.sum() and not computed
    assert torch.equal(again.item_vectors_ID, checkpoint.item_vectors_ID)
    assert again.reranker.item_vectors_ID is again.item_vectors_ID
    assert len(computed) == 1


def test_the_item_tower_opens_alone(copy: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedding worker reads neither users nor what they have seen, and embeds what it is given alone."""
    for name in ("users.parquet", "users.vocabularies.parquet", "sequences.safetensors", "reranker.safetensors"):
        (copy / name).unlink()
    monkeypatch.delattr("towers.checkpoint.opening.parts.all_item_vectors")
    tower = open_item_tower(Folder.of(str(copy)))
    assert {name.partition(".")[0] for name in tower.state_dict()} <= {"item_ids", "item_features", "item_refine"}
    rows = torch.tensor([5, 1, 17])
    with torch.inference_mode():
        assert torch.equal(tower.item_vectors(rows), checkpoint.model.item_vectors(rows))


@pytest.mark.slow
def test_an_embedding_worker_opens_it_by_the_endpoint_and_the_credentials_of_its_storage(
    checkpoint: Checkpoint, ray_session: None, bucket: Folder
) -> None:
    folder = bucket / checkpoint.name
    fs.copy_files(checkpoint.folder.path, folder.path, checkpoint.folder.filesystem, folder.filesystem)
    found = item_vectors(replace(checkpoint, folder=folder), batch_size=64).to_pandas().sort_values("row")
    assert np.allclose(np.stack(found["vector"]), checkpoint.item_vectors_ID[1:].numpy(), atol=1e-6)


def test_items_are_embedded_in_the_order_of_their_rows(
    checkpoint: Checkpoint, ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items of a block that took longer came later, and Milvus built another index with each publication."""
    others = tmp_path / "others"

    def first_after_others(folder: Folder, batch: pa.Table) -> pa.Table:
        deadline = time.monotonic() + 30
        while batch["row"][0].as_py() == 1 and not others.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        if batch["row"][-1].as_py() > 8:  # of another block than the first row
            others.touch()
        return batch

    monkeypatch.setattr(batch_embedding, "_embed", first_after_others)
    batches = item_vectors(checkpoint, batch_size=2).iter_batches(batch_size=2, batch_format="pyarrow")
    rows = [row for batch in batches for row in batch["row"].to_pylist()]
    assert rows == list(range(1, checkpoint.items.table.num_rows + 1))


@pytest.mark.parametrize("name", ["model.safetensors", "items.parquet", "items.vocabularies.parquet"])
def test_a_flipped_bit_is_found_by_an_embedding_worker(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(bytes(content))
    with pytest.raises(NotSealed, match=f"{name}: missing or changed"):
        open_item_tower(Folder.of(str(copy)))


def test_a_model_with_nan_is_not_saved(checkpoint: Checkpoint, dataset: PreparedDataset, tmp_path: Path) -> None:
    spoilt = copy_of(checkpoint.model)
    with torch.no_grad():
        spoilt.item_ids.table.weight[3] = torch.nan
    users, items = encode_catalogues(dataset.users, dataset.items, FittedSplits.train)
    encoders, history = (users.encoder, items.encoder), [checkpoint.history.as_part()]
    folder = Folder.of(str(tmp_path)) / "spoilt"
    with pytest.raises(CheckpointError, match=r"towers: item_ids\.table\.weight holds NaN"):
        save(folder, dict(checkpoint.manifest), spoilt, checkpoint.reranker, dataset, encoders, history)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_has_the_vocabularies_of_what_it_was_fitted_on(
    checkpoint: Checkpoint, dataset: PreparedDataset
) -> None:
    assert dataset.items.vocabularies == {} == dataset.users.vocabularies
    trained = dataset.items.table.filter(pc.greater(dataset.items.table["train_count"], 0))
    wanted = pc.unique(trained["studio"]).drop_null().sort()
    assert checkpoint.items.vocabularies["studio"].values.to_pylist() == wanted.to_pylist()
