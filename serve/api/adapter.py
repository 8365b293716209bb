"""The door between external ids and rows: what the ingress needs of a release to take requests in and answers out."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson

from data.sources.schema import FeatureKind
from serve.api.rendering import ShownItems
from serve.api.schemas import LiveResponse, RecommendRequest, SimilarRequest
from serve.experiments.assignment import Arm
from serve.filters.grammar import Filter, FilterError, finite, parse
from serve.pipeline.fallback import PopularItems
from serve.pipeline.messages import Explanation, Query, Response, SimilarQuery
from serve.releases.release import Release

MAX_TEXT, MAX_VALUES = 1000, 100
"""Longest text, and most values, of a feature that a request describes an item with."""

Unknown = dict[str, list[str]]
"""What a release does not know of a request, by the answer's field that says so."""


class FieldError(ValueError):
    """A request's field that this release cannot make sense of.

    Attributes:
        place: where it stands: names, and numbers within lists.
    """

    def __init__(self, place: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


class Door:
    """One release's vocabulary, items as they are shown, and popular items."""

    def __init__(self, release: Release, num_candidates: int) -> None:
        items = release.parts.items
        self.release_id = release.id
        self.manifest = release.manifest
        self.features = items.features
        self.items = items.ids
        self.popular = PopularItems(release.id, release.parts, release.columns)
        self._context = release.parts.reranker.context
        self._num_candidates = num_candidates
        self._shown = ShownItems(items)
        self._gone = release.withdrawn
        self.withdraw(())

    def withdraw(self, item_ids: Iterable[str]) -> None:
        """From now on these items, and those that the release itself has none of, are in no answer."""
        self._withdrawn = tuple(sorted(row for id_ in self._gone.union(item_ids) if (row := self.items.row(id_))))

    def query(self, request: RecommendRequest) -> tuple[Query, Unknown]:
        """The request in rows, and what this release does not know of it.

        Raises:
            FieldError: the filter is not one on this release's features.
        """
        history, exclude, unknown = self._rows(request.history, request.exclude)
        query = Query(
            release_id=self.release_id,
            user_id=request.user_id,
            k=request.k,
            num_candidates=self._num_candidates,
            history=history,
            exclude=exclude,
            context=self._context.rows(request.context),
            exclude_seen=request.exclude_seen,
            filter=self._filter(request.filter),
            explain=request.explain,
        )
        others = [name for name in request.context if name not in self._context.vocabularies]
        return query, {"unknown_items": unknown, "unknown_context": others}

    def similar(self, request: SimilarRequest) -> tuple[SimilarQuery, Unknown]:
        """The same for a request by items or by features.

        Raises:
            FieldError: the filter is not one on this release's features, no item is known, or a feature is none of its.
        """
        rows, exclude, unknown = self._rows(request.item_ids, request.exclude)
        if request.item_ids and not rows:
            raise FieldError(("item_ids",), f"item_ids: none of them is in release {self.release_id}")
        query = SimilarQuery(
            release_id=self.release_id,
            k=request.k,
            rows=rows,
            features=None if request.features is None else self._described(request.features),
            exclude=exclude,
            filter=self._filter(request.filter),
        )
        return query, {"unknown_items": unknown}

    def answer(self, response: Response, unknown: Unknown, request_id: str, arm: Arm | None = None) -> dict[str, Any]:
        """The response as JSON, but for what `explained` adds."""
        tried = {} if arm is None else {"experiment": arm.experiment, "variant": arm.variant}
        extras: list[dict[str, Any]] = [{"score": score} for score in response.scores]
        if response.explanation is not None:
            for extra, explanation in zip(extras, self._explained(response.rows, response.explanation), strict=True):
                extra["explanation"] = explanation
        return {
            "request_id": request_id,
            "release_id": response.release_id,
            **tried,
            "source": response.source,
            "degraded": response.degraded,
            "reasons": response.reasons,
            **unknown,
            "items": self.shown(response.rows, extras),
            "timings_ms": response.timings_ms,
        }

    def shown(self, rows: Sequence[int], extras: Sequence[dict[str, Any]]) -> list[orjson.Fragment]:
        """Rows as people and services read them: `serve.api.schemas.Item` as JSON."""
        return self._shown.json(rows, extras)

    def ids(self, rows: list[int]) -> list[str]:
        """What others call these items."""
        ids: list[str] = self.items.ids(np.array(rows, dtype=np.int64)).to_pylist()
        return ids

    def live(self) -> LiveResponse:
        names = ("created_at", "num_items", "metrics")
        values = {name: self.manifest[name] for name in names}
        return LiveResponse(
            release_id=self.release_id,
            dataset=self.manifest["dataset"]["name"],
            checkpoint=self.manifest["checkpoint"],
            **values,
        )

    def _explained(self, rows: Sequence[int], explanation: Explanation) -> list[dict[str, Any]]:
        """`serve.api.schemas.ItemExplanation` of each row."""
        candidates, ranked, nearest = explanation.candidates, explanation.ranked, explanation.nearest
        retrieved = {} if candidates is None else {row: at for at, row in enumerate(candidates.rows_K.tolist(), 1)}
        scores = [] if candidates is None else candidates.scores_K.tolist()
        rerank = {} if ranked is None else dict(zip(ranked.rows_K.tolist(), ranked.scores_K.tolist(), strict=True))
        near: list[list[dict[str, Any]]] = [[] for _ in rows]
        if nearest is not None:
            ids = self.items.ids(nearest.rows_KH.ravel()).to_pylist()
            pairs = zip(ids, nearest.cosines_KH.ravel().tolist(), strict=True)
            each = [{"id": id_, "cosine": cosine} for id_, cosine in pairs]
            width = nearest.rows_KH.shape[1]
            near = [each[start : start + width] for start in range(0, len(each), width)]
        return [
            {
                "retrieval_rank": retrieved.get(row),
                "retrieval_score": scores[retrieved[row] - 1] if row in retrieved else None,
                "rerank_score": rerank.get(row),
                "nearest_history": near_row,
            }
            for row, near_row in zip(rows, near, strict=True)
        ]

    def _filter(self, value: dict[str, Any] | None) -> Filter | None:
        try:
            return None if value is None else parse(value, self.features)
        except FilterError as e:
            raise FieldError(("filter",), str(e)) from e

    def _described(self, features: dict[str, Any]) -> dict[str, Any]:
        """Features whose names and types are this release's."""
        kinds = {f.name: f.kind for f in self.features}
        for name, value in features.items():
            if name not in kinds:
                raise FieldError(
                    ("features",), f"features: {name[:50]!r} is none of {', '.join(kinds) or 'the release'}"
                )
            if not _fits(kinds[name], value):
                raise FieldError(("features",), f"features.{name}: {WANTED[kinds[name]]} is wanted")
        return features

    def _rows(self, first: list[str], second: list[str]) -> tuple[tuple[int, ...], tuple[int, ...], list[str]]:
        """History and exclusions as the rows that are known, what is withdrawn among the latter, and unknown ids."""
        rows = [[self.items.row(id_) for id_ in ids] for ids in (first, second)]
        unknown = [id_ for id_, row in zip([*first, *second], [*rows[0], *rows[1]], strict=True) if row == 0]
        known_first, known_second = (tuple(row for row in found if row) for found in rows)
        return known_first, (*known_second, *self._withdrawn), unknown


WANTED = {
    FeatureKind.numeric: "a finite number",
    FeatureKind.categorical: f"a string of at most {MAX_TEXT} characters",
    FeatureKind.multi_categorical: f"a list of at most {MAX_VALUES} strings",
    FeatureKind.text: f"a string of at most {MAX_TEXT} characters",
}


def _fits(kind: FeatureKind, value: object) -> bool:
    if value is None:
        return True
    if kind is FeatureKind.numeric:
        return isinstance(value, int | float) and not isinstance(value, bool) and finite(value)
    if kind is FeatureKind.multi_categorical:
        return isinstance(value, list) and len(value) <= MAX_VALUES and all(_is_text(part) for part in value)
    return _is_text(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()
