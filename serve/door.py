"""The door between external ids and rows: what the ingress needs of a release to take requests in and answers out."""

from collections.abc import Sequence

import orjson

from serve.api import LiveResponse, RecommendRequest
from serve.filters import parse
from serve.masks import FilterColumns
from serve.popular import PopularItems
from serve.release import Release
from serve.request import Query
from serve.shown import ShownItems


class Door:
    """One release's vocabulary, items as they are shown, and popular items."""

    def __init__(self, release: Release, num_candidates: int) -> None:
        items = release.parts.items
        self.release_id = release.id
        self.manifest = release.manifest
        self.features = items.features
        self.items = items.ids
        self.popular = PopularItems(release.id, release.parts, FilterColumns(items.table, items.features))
        self._num_candidates = num_candidates
        self._shown = ShownItems(items)

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

    def shown(self, rows: Sequence[int], scores: Sequence[float]) -> list[orjson.Fragment]:
        """Rows as people and services read them: `serve.api.Item` as JSON."""
        return self._shown.json(rows, [{"score": score} for score in scores])

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
