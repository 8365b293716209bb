"""A batch of events: each is refused by itself, whatever its numbers are."""

import json

import pytest

from serve.api.events.reading import answer, read_events
from serve.events.protocol import Outcome
from tests.conformance.events import config, now_us


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


HALF = '"a\\ud83d"'
"""Half of a pair of surrogates, as programs send that cut texts in the middle of a character."""


@pytest.mark.parametrize(
    "text",
    [
        HALF,
        '"\\udc00b"',
        '"\\uD83D\\n"',
        '"\\ud83d\\u0041"',
        '"\\\\\\ud83d"',
        b'"a\xff"',
        b'"\xed\xa0\xbd"',
        b'"\xf0\x9f"',
    ],
)
@pytest.mark.parametrize("field", ["user_id", "time", "request_id", "nobody"])
def test_a_text_that_no_field_takes_refuses_its_event_alone(field: str, text: str | bytes) -> None:
    whole = text if isinstance(text, bytes) else text.encode()
    bad = written("2")[:-1].encode() + f', "{field}": '.encode() + whole + b"}"
    body = b'{"events": [' + b", ".join([written("1").encode(), bad, written("3").encode()]) + b"]}"
    batch = read_events(body, config())
    assert ([event.event_id for event in batch.events], batch.places) == (["1", "3"], [0, 2])
    assert {problem["loc"][:4] for problem in batch.problems} == {("body", "events", 1, field)}


def test_other_texts_stay_as_they_are_beside_one_that_no_field_takes() -> None:
    """Also with a number that none takes in a third event."""
    given = {"pair": "\U0001f600", "slash": "\\ud83d", "quote": '"', "é": "ü"}
    good = written("1", f', "context": {json.dumps(given)}')
    raw = written("4", f', "context": {json.dumps(given, ensure_ascii=False)}')
    long = written("3", f', "value": {"9" * 5000}')
    bad = written("2").replace('"u"', HALF)
    batch = read_events(f'{{"events": [{good}, {bad}, {long}, {raw}]}}'.encode(), config())
    assert [event.context for event in batch.events] == [given, given]
    assert batch.places == [0, 3]
    assert {problem["loc"][:4] for problem in batch.problems} == {
        ("body", "events", 1, "user_id"),
        ("body", "events", 2, "value"),
    }


@pytest.mark.parametrize("body", [b'{"events": ["\\\xff"]}', b'{"events": ["\\ud8"]}', b"\xff", b'{"events": [\xff]}'])
def test_what_is_no_json_is_refused_as_a_whole(body: bytes) -> None:
    batch = read_events(body, config())
    assert ([problem["loc"] for problem in batch.problems], batch.events) == ([("body",)], [])


def test_refused_events_are_named_in_their_order() -> None:
    """Those that the store refuses, by their ids, among those that are wrong by themselves."""
    sent = [written(str(n), ', "value": "much"') if n % 2 else written(str(n)) for n in range(102)]
    batch = read_events(f'{{"events": [{", ".join(sent)}]}}'.encode(), config())
    status, content = answer(batch, [Outcome.conflict] * len(batch.events), names_users=True)
    assert (status, [problem["loc"][2] for problem in content["detail"]]) == (422, list(range(102)))


def test_events_without_a_time_happened_when_they_were_sent() -> None:
    """Whatever has waited on its way did not happen when it is read. A sender's clock may be ahead of this one."""
    now = now_us()
    sent_us = [now - 5_000_000, now + 3_600_000_000, now - 8 * 86_400_000_000, None, now - 5_000_000]
    sent = [*(written(str(n)) for n in range(4)), written("4", f', "time": {now / 1e6 - 60}'), written("5")]
    batch = read_events(f'{{"events": [{", ".join(sent)}]}}'.encode(), config(), sent_us)
    ages_s = [(now - event.time_us) / 1e6 for event in batch.events]
    assert ages_s == pytest.approx([5, 0, 0, 60, 0], abs=1)
    assert [event.is_timed for event in batch.events] == [False, False, False, True, False]
    ((place, reason),) = [(problem["loc"][2], problem["msg"]) for problem in batch.problems]
    assert (place, reason[:42]) == (2, "time: that of the message, since the event")
