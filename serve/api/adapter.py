"""The request adapter: converts requests with external ids to queries in rows, and answers in rows back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from data.artifacts.json_text import json_text
from serve.api.explanations import explanations
from serve.api.feature_values import checked_features
from serve.api.rendering import ItemRenderer
from serve.api.schemas import LiveResponse, RecommendRequest, SimilarRequest
from serve.events.state import ReleasedEvents
from serve.experiments.assignment import Assignment
from serve.filters.grammar import Filter, FilterError, parse
from serve.pipeline.fallback import PopularFallback
from serve.pipeline.messages import Query, Response, SimilarQuery
from serve.releases.release import Release, log_read_us

Unknown = dict[str, list[str]]
"""Ids and names of a request that the release does not know, by the field of the answer that reports them."""


class FieldError(ValueError):
    """A field of a request that is not valid for this release.

    Attributes:
        location: Where the field is: names of fields, and numbers within lists.
    """

    def __init__(self, location: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.location = location


class RequestAdapter:
    """Converts requests and answers of one release.

    Args:
        release: The release that answers.
        num_candidates: Items to retrieve for each request.

    Attributes:
        release_id: The release.
        manifest: The release's manifest.
        features: The item features that filters and descriptions may name.
        items: The release's vocabulary of item ids.
        fallback: The release's popular items.
        log_read_us: When the log was read that the release's histories are of, in microseconds since 1970. Users who
            were forgotten later may be in them.
        type_rows: The row of each event type that the user tower knows, by its name.
        history_columns: What the user tower takes of a history beside its items.
        released_events: The events that are in the release's histories already.
        denied_rows: The items that no answer has, in order; each `set_denylist` makes another tuple.
    """

    def __init__(self, release: Release, num_candidates: int) -> None:
        items = release.parts.items
        self.release_id = release.id
        self.manifest = release.manifest
        self.features = items.features
        self.items = items.ids
        self.fallback = PopularFallback(release.id, release.parts, release.columns)
        self.log_read_us = log_read_us(release.manifest)
        self.released_events = ReleasedEvents.of_dataset(release.manifest["dataset"])
        self.type_rows = release.parts.event_type_rows
        self.history_columns = release.parts.history_columns
        self._context, self._goals = release.parts.context, release.parts.goal_weights
        self.items.prepare()
        self._num_candidates, self._renderer = num_candidates, ItemRenderer(items)
        self._vector_lengths = items.vector_lengths
        self._removed = release.removed_items
        self.set_denylist(())

    def set_denylist(self, item_ids: Iterable[str]) -> None:
        """Keeps these items, and those that the release itself has removed, out of all answers from now on."""
        self.denied_rows = tuple(sorted(self.known_rows(self._removed.union(item_ids))))
        self._denied = frozenset(self.denied_rows)

    def query(self, request: RecommendRequest) -> tuple[Query, Unknown]:
        """Returns the request as a query in rows, and its ids and names that this release does not know.

        Raises:
            FieldError: The filter is not valid for this release's features, or a goal is none of this release's.
        """
        history, exclude, unknown = self._rows(request.history, request.exclude)
        query = Query(
            release_id=self.release_id,
            user_id=request.user_id,
            k=request.k,
            num_candidates=self._num_candidates,
            history=history,
            exclude=exclude,
            denied=self.denied_rows,
            context=self._context.rows(request.context),
            exclude_seen=request.exclude_seen,
            filter=self._filter(request.filter),
            explain=request.explain,
            goals=self._goal_weights(request.goals),
        )
        unknown_context = [name for name in request.context if name not in self._context.vocabularies]
        return query, {"unknown_items": unknown, "unknown_context": unknown_context}

    def similar(self, request: SimilarRequest) -> tuple[SimilarQuery, Unknown]:
        """Returns a request for similar items as a query in rows, and its ids that this release does not know.

        Raises:
            FieldError: The filter or a feature is not valid for this release, or it knows none of the items.
        """
        rows, exclude, unknown = self._rows(request.item_ids, request.exclude)
        if request.item_ids and not rows:
            raise FieldError(("item_ids",), f"item_ids: none of them is in release {self.release_id}")
        query = SimilarQuery(
            release_id=self.release_id,
            k=request.k,
            rows=rows,
            features=None if request.features is None else self._check_features(request.features),
            exclude=(*exclude, *self.denied_rows),
            filter=self._filter(request.filter),
        )
        return query, {"unknown_items": unknown}

    def without_denied(self, response: Response) -> Response:
        """Returns the response without items that were put on the denylist while it was made."""
        if self._denied.isdisjoint(response.rows):
            return response
        denied = self.denied_rows
        kept = ~np.isin(response.rows, denied)
        rows, scores = np.array(response.rows)[kept].tolist(), np.array(response.scores)[kept].tolist()
        if (found := response.found) is not None:
            others = ~np.isin(found.rows_K, denied)
            found = replace(found, rows_K=found.rows_K[others], scores_K=found.scores_K[others])
        if (explanation := response.explanation) is not None and (nearest := explanation.nearest) is not None:
            nearest = replace(nearest, rows_KH=nearest.rows_KH[kept], cosines_KH=nearest.cosines_KH[kept])
            explanation = replace(explanation, nearest=nearest)
        return replace(response, rows=rows, scores=scores, found=found, explanation=explanation)

    def answer(
        self,
        response: Response,
        unknown: Unknown,
        request_id: str,
        assignment: Assignment | None = None,
        filter: dict[str, Any] | None = None,
        stale: bool = False,
    ) -> dict[str, Any]:
        """Returns the response as JSON values, see `serve.api.schemas.RecommendResponse` and `SimilarResponse`.

        Args:
            response: The pipeline's answer.
            unknown: What `query` or `similar` returned as unknown.
            request_id: The request's id.
            assignment: The variant of the running experiment that the answer belongs to, if any.
            filter: The request's filter, which an explanation repeats.
            stale: Whether the storage has not said lately what is live.
        """
        experiment = _experiment_fields(assignment)
        extras: list[dict[str, Any]] = [{"score": score} for score in response.scores]
        explained: dict[str, Any] = {}
        if (explanation := response.explanation) is not None:
            each = explanations(response.rows, explanation, self.items, self.denied_rows)
            for extra, item_explanation in zip(extras, each, strict=True):
                extra["explanation"] = item_explanation
            num_candidates = 0 if explanation.candidates is None else len(explanation.candidates.rows_K)
            explained["explained"] = {
                "filter": None if filter is None else orjson.Fragment(json_text(filter)),  # orjson ends at 64 bits
                "num_excluded": explanation.num_excluded,
                "num_candidates": num_candidates,
            }
        return {
            "request_id": request_id,
            "release_id": response.release_id,
            **experiment,
            "source": response.source,
            "degraded": response.degraded,
            "reasons": response.reasons,
            **unknown,
            "stale": stale,
            "items": self.render(response.rows, extras),
            "timings_ms": response.timings_ms,
            **explained,
        }

    def render(self, rows: Sequence[int], extras: Sequence[dict[str, Any]]) -> list[orjson.Fragment]:
        """Returns rows as `serve.api.schemas.Item` in JSON, each with the fields of its entry of `extras`."""
        return self._renderer.render(rows, extras)

    def ids(self, rows: list[int]) -> list[str]:
        """Returns the external ids of item rows."""
        ids: list[str] = self.items.ids(np.array(rows, dtype=np.int64)).to_pylist()
        return ids

    def known_rows(self, ids: Iterable[str]) -> tuple[int, ...]:
        """Returns the rows of those ids that the release knows."""
        return tuple(filter(None, self.items.rows_by_id(ids)))

    def context_rows(self, context: Mapping[str, str]) -> tuple[int, ...]:
        """Returns the rows of a context's values."""
        return self._context.rows(context)

    def live(self) -> LiveResponse:
        """Returns what `/v1/releases/live` reports of this release."""
        names = ("created_at", "num_items", "metrics")
        values = {name: self.manifest[name] for name in names}
        return LiveResponse(
            release_id=self.release_id,
            dataset=self.manifest["dataset"]["name"],
            checkpoint=self.manifest["checkpoint"],
            goals=self._goals,
            **values,
        )

    def _goal_weights(self, weights: Mapping[str, float]) -> tuple[float, ...]:
        """Returns the weights of a request in the order of the release's goals; none where the request names none."""
        known = ", ".join(self._goals) if self._goals else "none, so leave goals out"
        for name in weights:
            if name not in self._goals:
                raise FieldError(("goals", name), f"goals.{name}: the goals of release {self.release_id} are {known}")
        return tuple(weights.get(name, 0.0) for name in self._goals) if weights else ()

    def _filter(self, value: dict[str, Any] | None) -> Filter | None:
        try:
            return None if value is None else parse(value, self.features)
        except FilterError as e:
            raise FieldError(("filter",), str(e)) from e

    def _check_features(self, features: dict[str, Any]) -> dict[str, Any]:
        try:
            return checked_features(features, {f.name: f.kind for f in self.features}, self._vector_lengths)
        except ValueError as e:
            raise FieldError(("features",), str(e)) from e

    def _rows(self, first: list[str], second: list[str]) -> tuple[tuple[int, ...], tuple[int, ...], list[str]]:
        """Returns two lists of ids as rows, and the unknown ids, each once."""
        rows = [self.items.rows_by_id(ids) for ids in (first, second)]
        both = zip([*first, *second], [*rows[0], *rows[1]], strict=True)
        unknown = list(dict.fromkeys(id_ for id_, row in both if row == 0))
        known_first, known_second = (tuple(filter(None, found)) for found in rows)
        return known_first, known_second, unknown


def _experiment_fields(assignment: Assignment | None) -> dict[str, str]:
    return {} if assignment is None else {"experiment": assignment.experiment.name, "variant": assignment.variant}
