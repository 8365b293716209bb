"""How the clients read refusals, whoever has written them."""

import time
from email.utils import formatdate

import httpx
import pytest

from serve.api.connection import answer, content, retry_after_s, unreachable
from serve.api.events.schemas import EventsResponse
from serve.api.problems import EndpointError, EventsRefusedError

ASKED = httpx.Request("POST", "http://endpoint/v1/events")


def test_both_forms_of_retry_after() -> None:
    assert [retry_after_s(value) for value in ("0", "4", " 2.5 ")] == [0.0, 4.0, 2.5]
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after_s(formatdate(time.time() + 3600, usegmt=True)) == pytest.approx(3600, abs=60)
    unreadable = ("", "soon", "-1", "nan", "inf", "9" * 400, "Wed, 21 Oct 99999999 07:28:00 GMT", "1, 2")
    assert {retry_after_s(value) for value in unreadable} == {None}


def test_a_refusal_that_is_not_the_endpoints_is_an_error_with_its_status() -> None:
    for text in ('{"accepted": "some"}', '{"accepted": 1}', '<html>"accepted"</html>'):
        with pytest.raises(EndpointError, match="422") as caught:
            content(httpx.Response(422, text=text, request=ASKED))
        assert (type(caught.value), caught.value.status) == (EndpointError, 422)


def test_refused_events_are_told() -> None:
    problem = {"type": "value_error", "loc": ["body", "events", 3, "type"], "msg": "unknown"}
    refused = httpx.Response(422, json={"accepted": 2, "duplicates": 1, "detail": [problem]}, request=ASKED)
    with pytest.raises(EventsRefusedError) as caught:
        content(refused)
    assert (caught.value.accepted, caught.value.duplicates, [*caught.value.problems]) == (2, 1, [problem])


@pytest.mark.parametrize(
    ("body", "said"),
    [("<html>", "Invalid JSON: "), ('{"accepted": 1}', "duplicates: Field required"), ("", "Invalid JSON: ")],
)
def test_a_success_that_is_not_the_endpoints_is_an_error_with_its_status(body: str, said: str) -> None:
    """pydantic.ValidationError would say that nothing was sent."""
    with pytest.raises(EndpointError, match=rf"^POST /v1/events: 202 .* is no EventsResponse \({said}") as caught:
        answer(httpx.Response(202, text=body, request=ASKED), EventsResponse)
    assert caught.value.status == 202


def test_a_call_for_which_no_connection_is_free_is_not_blamed_on_the_endpoint() -> None:
    address = httpx.URL("http://h:8000")
    full = str(unreachable(address, httpx.PoolTimeout("")))
    assert full.startswith("http://h:8000: not asked, since all connections of this client were in use")
    late = str(unreachable(address, httpx.ReadTimeout("")))
    assert late == "http://h:8000: no answer (ReadTimeout); is `python -m serve.run` up?"
