"""The configuration of a dataset: which log it comes from, and how it is split."""

from dataclasses import dataclass, field
from typing import Any

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.artifacts.structured import jsonable
from data.dataset.clock import ClockKind
from data.dataset.split import SplitConfig, SplitKind
from data.sources.event_types import EventType, EventTypes, Sign
from data.sources.source import SourceConfig
from data.sources.values.missing import SPELLINGS

ADDED: tuple[tuple[tuple[str, ...], Any], ...] = (
    (("events",), {}),
    (("positive_from",), None),
    (("below",), {k: v for k, v in jsonable(EventType(sign=Sign.negative)).items() if k != "towers"}),
    (("item_vectors",), None),
    (("source", "columns", "type"), None),
)
"""Keys that came to be after datasets had been prepared, and the values with which they change nothing."""

ADDED_TO_SOURCES: dict[str, dict[str, Any]] = {"InteractionListsSource": {"missing": list(SPELLINGS)}}
"""By source, likewise. Manifests hold these keys, because others read by them."""


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """Which log to read, and how to make a dataset of it.

    Attributes:
        name: begins the folder names of the dataset and of the checkpoints and releases that come from it.
        source: where the log is and how to read it.
        split: how interactions are split into train, validation and test.
        min_weight: interactions with a lower weight (rating) are left out, as if the log did not have them; null keeps
            all. Events of an endpoint have none: the bound is for the log from before them.
        events: what each event type means, by its name in the column `source.columns.type`; the types of a source that
            has its own are replaced by these.
        positive_from: for logs whose weights are ratings, the lowest one that is a positive; null takes all
            interactions for positives, which count in training by their weights.
        below: what a lower rating is: a negative, or a positive of little weight.
        item_vectors: a Parquet file with `item_id` and columns of vectors, such as `data.embed_text` writes; they
            become item features of kind vector.
        clock: whether times are moments (seconds) or no more than an order; auto concludes it from the numbers.
        users_per_part: number of users in one file of interactions. One task prepares one such part in memory; of more
            than 200 parts, a 200th of them.
    """

    name: str
    source: SourceConfig
    split: SplitConfig = field(default_factory=SplitConfig)
    min_weight: float | None = bounded(None)
    events: dict[str, EventType] = field(default_factory=dict)
    positive_from: float | None = bounded(None)
    below: EventType = field(default_factory=lambda: EventType(sign=Sign.negative))
    item_vectors: str | None = None
    clock: ClockKind = ClockKind.auto
    users_per_part: int = bounded(50_000, at_least=1)

    def __post_init__(self) -> None:
        check_bounds(self, "data")
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(f"data.name: {self.name!r} must consist of letters, digits, - and _")
        if (self.events or self.source.event_types()) and self.positive_from is not None:
            raise ConfigError(
                f"data.positive_from: {self.positive_from} is for logs without event types, and this one has some;"
                " give one of the two"
            )
        if self.events and not any(of.sign is Sign.positive for of in self.events.values()):
            raise ConfigError(f"data.events: none of {', '.join(self.events)} is positive; set sign=positive for one")
        self._check_columns()

    def _check_columns(self) -> None:
        """Raises ConfigError for columns that another setting of the log needs, or makes useless."""
        columns = getattr(self.source, "columns", None)  # other sources know theirs
        type_, split = (getattr(columns, name, None) for name in ("type", "split"))
        if type_ is not None and not self.events:
            raise ConfigError(
                f"data.source.columns.type: {type_!r} needs data.events, which says what each type means, such as"
                " data.events.purchase.weight=5"
            )
        if self.events and getattr(columns, "type", ...) is None:
            raise ConfigError(
                f"data.events: {', '.join(self.events)} are values of a column, and data.source.columns.type is null:"
                " name it there, or leave data.events out"
            )
        for name in ("positive_from", "min_weight"):
            if getattr(self, name) is not None and getattr(columns, "weight", ...) is None:
                raise ConfigError(
                    f"data.{name}: {getattr(self, name)} is a bound of weights, and data.source.columns.weight is null:"
                    f" name their column there, or leave data.{name} out"
                )
        if self.min_weight is not None and not self.source.has_weights():
            raise ConfigError(
                f"data.min_weight: {self.min_weight} is a bound of weights, and neither events nor the log from before"
                " them have some: leave it out, or name their column in data.source.base.columns.weight"
            )
        if split is not None and self.split.kind is not SplitKind.given:
            raise ConfigError(
                f"data.source.columns.split: {split!r} is for data.split.kind=given alone, and the kind is"
                f" {self.split.kind.value}: set that kind, or data.source.columns.split=null"
            )

    @property
    def event_types(self) -> EventTypes:
        """The event types of the log, or those of its ratings; none where all interactions are positives."""
        if self.positive_from is not None:
            return EventTypes.rated(self.positive_from, self.below)
        return EventTypes(self.events or self.source.event_types())

    def input_files(self) -> list[str]:
        """The files that decide the dataset: those of the source, and that of vectors."""
        return [*self.source.files(), *([] if self.item_vectors is None else [self.item_vectors])]

    def places(self) -> dict[str, str]:
        """Where the files of the log, and that of vectors, lie, by their keys."""
        of_source = {f"data.source.{name}": place for name, place in self.source.places().items()}
        return of_source | ({} if self.item_vectors is None else {"data.item_vectors": self.item_vectors})

    def read_until(self) -> dict[str, list[int]]:
        """The moments until which a log that grows is read, under "until", for digests; empty for other logs."""
        until = self.source.read_until()
        return {"until": until} if until else {}

    def as_json(self) -> dict[str, Any]:
        """The config as JSON values, with the source's class, because two sources may have the same fields.

        Keys that were added later are left out where they change nothing, so that a dataset is found again.
        """
        values: dict[str, Any] = jsonable(self)
        source: Any = self.source
        inner = values["source"]
        while source is not None:
            inner["adapter"] = type(source).__name__
            source, inner = getattr(source, "base", None), inner.get("base")
        for of in (*values["events"].values(), values["below"]):
            if of["towers"] == EventType().towers:
                del of["towers"]
        for (*path, key), neutral in ADDED:
            inner = values
            for name in path:
                inner = inner.get(name) or {}
            if inner.get(key, ...) == neutral:
                del inner[key]
        return values

    def as_request(self) -> dict[str, Any]:
        """The config as the digest takes it by which a dataset is found again: `as_json` without ADDED_TO_SOURCES."""
        values = self.as_json()
        source = values["source"]
        while source is not None:
            for key, neutral in ADDED_TO_SOURCES.get(source["adapter"], {}).items():
                if source[key] == neutral:
                    del source[key]
            source = source.get("base")
        return values
