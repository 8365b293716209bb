"""The controls of a question: number of items, deadline, what was seen, context, filters, and edits of the history."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from nicegui import ui

from serve.api.limits import MAX_K
from serve.filters.grammar import LIST_OPERATORS
from serve.viewer.parts.elements import button, choice, formatted, part, refilled, text
from serve.viewer.question import Question
from serve.viewer.reading.released import FilterableFeature, ReleasedCatalogue

Changed = Callable[[], Awaitable[None]]


class Controls:
    """The controls of one question, which they change in place.

    Args:
        question: What they show and change.
        catalogue: The release whose features and context values are offered; None offers none.
        changed: Is awaited after each change.
    """

    def __init__(self, question: Question, catalogue: ReleasedCatalogue | None, changed: Changed) -> None:
        self._question, self._changed = question, changed
        self._features = [] if catalogue is None else catalogue.filterable
        self._contexts = {} if catalogue is None else catalogue.context_values
        self._box = part("div")

    def show(self) -> None:
        """Shows the controls as the question is now."""
        with refilled(self._box):
            with part("div", "line"):
                self._k()
                self._deadline()
                seen = ui.checkbox("exclude seen", value=self._question.exclude_seen)
                seen.on_value_change(lambda e: self._set("exclude_seen", bool(e.value)))
                for name, values in self._contexts.items():
                    self._context(name, values)
            self._conditions()
            self._history()

    async def add_to_history(self, item_id: str) -> None:
        """Adds an item to the history that the request itself names."""
        self._question.history.append(item_id)
        self.show()
        await self._changed()

    async def _set(self, name: str, value: Any) -> None:
        if getattr(self._question, name) != value:
            setattr(self._question, name, value)
            await self._changed()

    def _k(self) -> None:
        field = ui.number("items", value=self._question.k, min=1, max=MAX_K, precision=0).classes("narrow")
        field.props("outlined dense debounce=300")
        field.on_value_change(lambda e: self._set("k", int(min(max(e.value or 1, 1), MAX_K))))

    def _deadline(self) -> None:
        field = ui.number("deadline, ms", value=self._question.timeout_ms, min=1, precision=0).classes("narrow")
        field.props("outlined dense debounce=300")
        field.on_value_change(lambda e: self._set("timeout_ms", int(e.value) if e.value and e.value >= 1 else None))

    def _context(self, name: str, values: list[str]) -> None:
        def change(e: Any) -> Awaitable[None]:
            kept = {key: value for key, value in self._question.context.items() if key != name}
            return self._set("context", kept | ({name: e.value} if e.value else {}))

        value = self._question.context.get(name, "")
        options = {"": "any"} | {v: v for v in dict.fromkeys([*values, *filter(None, [value])])}
        choice(name, options, value, change, "medium")

    def _conditions(self) -> None:
        """The conditions that hold, each with a button that takes it away, and a form for another one."""
        if self._question.conditions:
            with part("div", "line"):
                for number, condition in enumerate(self._question.conditions):
                    said = f"{condition.get('field')} {condition.get('op')} {formatted(condition.get('value'))}"
                    self._removable(said, partial(self._without, "conditions", number))
        if self._features:
            with part("details"):
                text("summary", "add a filter")
                FilterForm(self._features, self._add_condition)

    def _history(self) -> None:
        if self._question.history:
            with part("div", "line"):
                text("span", "added to the history:", "soft")
                for number, item_id in enumerate(self._question.history):
                    self._removable(item_id, partial(self._without, "history", number))

    def _removable(self, said: str, remove: Callable[[], Awaitable[None]]) -> None:
        button(f"{said}  ×", remove).props["aria-label"] = f"remove {said}"

    async def _without(self, name: str, number: int) -> None:
        values = getattr(self._question, name)
        if number < len(values):
            del values[number]
        self.show()
        await self._changed()

    async def _add_condition(self, condition: dict[str, Any]) -> None:
        self._question.conditions.append(condition)
        self.show()
        await self._changed()


class FilterForm:
    """A form for one condition: feature, operator and value, by the feature's type.

    Args:
        features: The features to choose from.
        add: Takes the condition.
    """

    def __init__(self, features: list[FilterableFeature], add: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._features, self._add = {feature.name: feature for feature in features}, add
        self._box = part("div", "line")
        self._choose(next(iter(self._features)))

    def _choose(self, name: str) -> None:
        feature = self._features[name]
        with refilled(self._box):
            choice("feature", list(self._features), name, lambda e: self._choose(e.value), "medium")
            operator = choice("operator", list(feature.operators), feature.operators[0], lambda _: None, "medium")
            if feature.is_number:
                smallest = None if feature.bounds is None else feature.bounds[0]
                value: Any = ui.number("value", value=smallest).props("outlined dense").classes("medium")
            else:
                commonest = feature.values[0] if feature.values else None
                value = choice("value", feature.values, commonest, lambda _: None, "medium")
                value.props("use-input hide-selected fill-input input-debounce=0")
            ui.button("add", on_click=lambda: self._done(feature, operator.value, value.value)).props("dense no-caps")

    async def _done(self, feature: FilterableFeature, operator: str, value: Any) -> None:
        if value is not None:
            given = [value] if operator in LIST_OPERATORS else value
            await self._add({"field": feature.name, "op": operator, "value": given})
