"""The door between external ids and rows: what the ingress needs of a release to take requests in and answers out."""

from typing import Any

import numpy as np

from data.schema import FeatureKind
from serve.api import Item, LiveResponse, RecommendRequest
from serve.filters import parse
from serve.masks import FilterColumns
from serve.popular import PopularItems
from serve.release import Release
from serve.request import Query


class Door:
    """One release's vocabulary, titles, features and popular items."""

    def __init__(self, release: Release, num_candidates: int) -> None:
        items = release.parts.items
        shown = [f.name for f in items.features if f.kind is not FeatureKind.text]
        self.release_id = release.id
        self.manifest = release.manifest
        self.features = items.features
        self.items = items.ids
        self.popular = PopularItems(release.id, release.parts, FilterColumns(items.table, items.features))
        self._num_candidates = num_candidates
        self._ids = items.ids.values.to_pylist()
        self._titles = items.table["title"].to_pylist()
        self._shown = items.table.select(shown)

    def query(self, request: RecommendRequest) -> tuple[Query, list[str]]:
        """The request in rows, and the item ids in it that this release does not know.

        Raises:
            FilterError: the filter is not one on this release's features.
        """
        history, exclude = self._rows(request.history), self._rows(request.exclude)
        named = [*request.history, *request.exclude]
        unknown = [id_ for id_, row in zip(named, history + exclude, strict=True) if row == 0]
        query = Query(
            release_id=self.release_id,
            user_id=request.user_id,
            k=request.k,
            num_candidates=self._num_candidates,
            history=tuple(row for row in history if row),
            exclude=tuple(row for row in exclude if row),
            exclude_seen=request.exclude_seen,
            filter=None if request.filter is None else parse(request.filter, self.features),
        )
        return query, unknown

    def item(self, row: int, score: float) -> Item:
        return self.shown([row], [score])[0]

    def shown(self, rows: list[int], scores: list[float]) -> list[Item]:
        """Rows as people and services read them."""
        features: list[dict[str, Any]] = [{} for _ in rows]
        if self._shown.num_columns:  # a table without columns has no rows either
            features = self._shown.take(np.array(rows, dtype=np.int64) - 1).to_pylist()
        return [
            Item(id=self._ids[row - 1], title=self._titles[row - 1], score=score, features=values)
            for row, score, values in zip(rows, scores, features, strict=True)
        ]

    def live(self) -> LiveResponse:
        names = ("created_at", "num_items", "metrics")
        values = {name: self.manifest[name] for name in names}
        return LiveResponse(
            release_id=self.release_id,
            dataset=self.manifest["dataset"]["name"],
            checkpoint=self.manifest["checkpoint"],
            **values,
        )

    def _rows(self, ids: list[str]) -> list[int]:
        return [self.items.row(id_) for id_ in ids]
