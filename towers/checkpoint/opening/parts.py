"""The parts of one sealed folder, each read from its own files when it is first asked for.

A process that needs some parts opens no others: a re-ranker no users, a retriever neither weights nor users.

Shape legend: I items (row 0 = unknown), D dimension.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch

from data.artifacts.folders import Folder
from data.artifacts.seals import verify_files
from data.artifacts.structured import structured
from data.dataset.catalogue import Catalogue
from data.sequences.histories import Sequences
from data.sources.event_types import EventTypes
from data.sources.schema import RECENT_COUNT
from towers.checkpoint.histories import of_tensors
from towers.checkpoint.opening.weights import load_weights, refuse_not_finite, without_initial_values
from towers.checkpoint.tensor_files import CheckpointError, mapped_tensors
from towers.model.build import build_model, interaction_counts, tower_inputs
from towers.model.config import FittedSplits, ModelConfig
from towers.model.context import Context
from towers.model.described import placed_rows
from towers.model.features import FeatureEncoder
from towers.model.item_tower import ItemTower
from towers.model.tie_order import popularity
from towers.model.two_tower import TowerInputs, TwoTower, all_item_vectors
from towers.reranking.config import RerankConfig
from towers.reranking.reranker import UNFITTED, Reranker

MODEL_FILE, RERANKER_FILE, SEQUENCES_FILE = "model.safetensors", "reranker.safetensors", "sequences.safetensors"

VECTORS_FILE, VECTORS = "item_vectors.safetensors", "vectors_ID"
"""The item vectors of a release: the file, and their name in it. Checkpoints and earlier releases have no such file."""

PART_FILES = frozenset(
    (MODEL_FILE, RERANKER_FILE, SEQUENCES_FILE, VECTORS_FILE)
    + tuple(f"{side}.{kind}" for side in ("users", "items") for kind in ("parquet", "vocabularies.parquet"))
)
"""The files that the parts are read from."""


def cold_length(manifest: dict[str, Any]) -> float:
    """The length of the vectors of items without training data; full in checkpoints of earlier versions."""
    return float(manifest.get("cold_items", {}).get("length", 1.0))


class Parts:
    """What `Checkpoint` is made of.

    Args:
        folder, manifest: of the checkpoint, or of a release that carries its files.
        items: replaces the folder's own catalogue, see `towers.checkpoint.checkpoint.load`.
        serves: for a process that serves the release and trains nothing: each file's sha256 is verified before it is
            read, and weights are mapped from it where it lies on a local disk, as histories always are.
    """

    def __init__(
        self, folder: Folder, manifest: dict[str, Any], items: Catalogue | None = None, *, serves: bool = False
    ) -> None:
        self._folder, self._manifest, self._own_items, self._serves = folder, manifest, items, serves
        self._fit_on = FittedSplits(manifest["fit_on"])
        self._config = structured(ModelConfig, manifest["model"])

    def _verify(self, *names: str) -> None:
        """Raises NotSealed where this process serves, and one of the files is missing or changed."""
        if self._serves:
            verify_files(self._folder, self._manifest, names)

    def _catalogue(self, side: str) -> Catalogue:
        optional = f"{side}.vocabularies.parquet"  # there if a feature has a vocabulary
        self._verify(f"{side}.parquet", *({optional} & self._manifest["files"].keys()))
        id_column, features = f"{side[:-1]}_id", self._manifest[f"{side[:-1]}_features"]
        return Catalogue.load(self._folder, side, id_column, features, as_asked=not self._serves)

    def _inputs(self, catalogue: Catalogue, side: str) -> TowerInputs:
        encoder = FeatureEncoder.of_json(catalogue, self._manifest[f"{side}_scales"])
        return tower_inputs(catalogue, encoder, self._fit_on)

    @cached_property
    def users(self) -> Catalogue:
        """The users."""
        return self._catalogue("users")

    @cached_property
    def items(self) -> Catalogue:
        """The items."""
        return self._own_items or self._catalogue("items")

    @cached_property
    def _item_inputs(self) -> TowerInputs:
        return self._inputs(self.items, "item")

    @cached_property
    def counts_I(self) -> np.ndarray:
        """int64, interactions of each item in the splits that were fitted on."""
        return interaction_counts(self.items, self._fit_on)

    @property
    def popularity_I(self) -> np.ndarray:
        """[I]: by which popular items are ordered (`towers.model.tie_order.popularity`)."""
        recent = self.items.column(RECENT_COUNT) if RECENT_COUNT in self.items.column_names else None
        return popularity(self.counts_I, None if recent is None else np.append(0, recent.to_numpy()))

    @property
    def placed_I(self) -> np.ndarray:
        """bool, the items that place a user who has them in the history (`TwoTower.item_places_N`)."""
        return placed_rows(self._item_inputs.encoded, self._item_inputs.known_N).numpy()

    @property
    def context(self) -> Context:
        """The context features of requests; checkpoints of earlier versions have none."""
        return Context.of_json(self._manifest.get("context", {}))

    @property
    def goal_weights(self) -> dict[str, float]:
        """See `Reranker.goal_weights`; of the re-ranker's file the calibration alone is read."""
        goals = dict(structured(RerankConfig, self._manifest["rerank"]).goals)
        if not goals:
            return {}
        self._verify(RERANKER_FILE)
        calibration = mapped_tensors(self._folder, RERANKER_FILE, {"calibration"})["calibration"]
        return {} if calibration.tolist() == UNFITTED else goals

    @property
    def event_type_rows(self) -> dict[str, int]:
        """See `TwoTower.event_type_rows`."""
        names = tuple(EventTypes.of_manifest(self._manifest.get("event_types")).types)
        return {name: row for row, name in enumerate(names, 1)} if self._config.history_types else {}

    @cached_property
    def model(self) -> TwoTower:
        """Both towers, in eval mode.

        Raises:
            CheckpointError: their weights are damaged or do not fit the catalogues.
        """
        event_types = tuple(EventTypes.of_manifest(self._manifest.get("event_types")).types)
        inputs = (self._inputs(self.users, "user"), self._item_inputs)
        with self._building():
            model = build_model(self._config, *inputs, 0, self.context, event_types)
        model.places_by_features = self._manifest.get("placement", {}).get("by_features", False)
        model.cold_length = cold_length(self._manifest)
        self._load(model, MODEL_FILE)
        return model.eval()

    @property
    def item_tower(self) -> ItemTower:
        """The item tower alone, in eval mode.

        Raises:
            CheckpointError: its weights are damaged or do not fit the items.
        """
        with self._building():
            tower = ItemTower(self._config, self._item_inputs)
        tower.cold_length = cold_length(self._manifest)
        self._load(tower, MODEL_FILE, only=tower.state_dict().keys())
        return tower.eval()

    @cached_property
    def bare_reranker(self) -> Reranker:
        """The re-ranker without item vectors.

        Raises:
            CheckpointError: its weights are damaged or do not fit the items.
        """
        manifest = self._manifest
        not_yet_ID = torch.zeros(1).expand(len(self.counts_I), self._config.embedding_dim)  # takes no memory
        with self._building():
            reranker = Reranker(
                structured(RerankConfig, manifest["rerank"]),
                not_yet_ID,
                self.counts_I,
                self._item_inputs,
                self.context,
                self._num_fitted,
                manifest.get("reranker_is_carried", False),
                manifest.get("clips_popularity", False),
            )
        self._load(reranker, RERANKER_FILE)
        return reranker.eval()

    @property
    def reranker(self) -> Reranker:
        """The re-ranker, which refers to the item vectors."""
        self.bare_reranker.item_vectors_ID = self.item_vectors_ID
        return self.bare_reranker

    @cached_property
    def item_vectors_ID(self) -> torch.Tensor:
        """float32, all item vectors: mapped from a release's file, or computed where there is none.

        Raises:
            CheckpointError: the file does not fit the items.
        """
        if self._own_items is None and VECTORS_FILE in self._manifest["files"]:
            return self._stored_vectors()
        return all_item_vectors(self.model if "model" in self.__dict__ else self.item_tower)

    def _stored_vectors(self) -> torch.Tensor:
        self._verify(VECTORS_FILE)
        tensors = mapped_tensors(self._folder, VECTORS_FILE, {VECTORS})
        expected = [1 + self._manifest["num_items"], self._config.embedding_dim]
        if VECTORS not in tensors or list(tensors[VECTORS].shape) != expected:
            raise CheckpointError(f"{self._folder}/{VECTORS_FILE}: not {' x '.join(map(str, expected))} item vectors")
        if not self._serves:  # whoever serves would have the whole file in memory by it
            refuse_not_finite(tensors, f"{self._folder}/{VECTORS_FILE}")
        return tensors[VECTORS]

    @cached_property
    def sequences(self) -> tuple[Sequences, Sequences]:
        """Every user's history, and what each has seen.

        Raises:
            CheckpointError: the file is damaged.
        """
        self._verify(SEQUENCES_FILE)
        return of_tensors(mapped_tensors(self._folder, SEQUENCES_FILE))  # the largest file: read where it is asked for

    @property
    def _num_fitted(self) -> int:
        """Number of items that the weights were fitted with; the catalogue may have more, which came later."""
        return self._manifest.get("num_fitted_items", self.items.num_ids)

    def _load(self, module: TwoTower | ItemTower | Reranker, name: str, **options: Any) -> None:
        num_items = self.items.num_ids
        if (num_added := num_items - self._num_fitted) < 0:
            raise CheckpointError(f"{self._folder}: holds {num_items} items, was fitted on {self._num_fitted}")
        self._verify(name)
        load_weights(module, self._folder, name, num_added, mapped=self._serves, **options)

    def _building(self) -> AbstractContextManager[None]:
        """The context in which modules are built: for serving, without the initial values that loaded weights replace.

        Opening a checkpoint draws them still, which advances the random number generator.
        """
        return without_initial_values() if self._serves else nullcontext()
