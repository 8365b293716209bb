"""A batch of events: each is refused by itself, whatever its numbers are."""

import json

import pytest

from serve.api.events.reading import read_events
from tests.conformance.events import config


def written(event_id: str, more: str = "") -> str:
    return f'{{"event_id": "{event_id}", "user_id": "u", "item_id": "i", "type": "click"{more}}}'


@pytest.mark.parametrize("field", ["value", "time"])
@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000, "-" + "9" * 5000, "9" * 5000 + ".5"]
)
def test_a_number_that_no_field_takes_refuses_its_event_alone(field: str, number: str) -> None:
    bad = written("2", f', "{field}": {number}')
    body = f'{{"events": [{written("1")}, {bad}, {written("3")}]}}'
    batch = read_events(body.encode(), config())
    assert ([event.event_id for event in batch.events], batch.places) == (["1", "3"], [0, 2])
    assert {problem["loc"][:4] for problem in batch.problems} == {("body", "events", 1, field)}


def test_digits_in_texts_stay_as_they_are() -> None:
    """Where an integer has too many digits, the body is searched for such; texts are no integers."""
    texts = json.dumps('"' + "7" * 200), json.dumps("\\")
    good = written("1", f', "context": {{"a": {texts[0]}, "b": {texts[1]}}}, "value": 0.{"1" * 500}')
    bad = written("2", f', "value": {"9" * 5000}')
    batch = read_events(f'{{"events": [{good}, {bad}]}}'.encode(), config())
    (event,) = batch.events
    assert (event.context, event.value) == ({"a": '"' + "7" * 200, "b": "\\"}, pytest.approx(1 / 9))


def test_a_body_that_ends_within_a_text_is_searched_once() -> None:
    """A search that began again at each quote would take hours for it."""
    body = b'{"events": [' + b"9" * 5000 + b', "' + b'\\"' * 500_000
    batch = read_events(body, config())
    assert [problem["loc"] for problem in batch.problems] == [("body",)]
    assert not batch.events
