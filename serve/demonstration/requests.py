"""Example requests and events that the demonstration sends to its endpoint, with the answers as tables."""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from data.cluster.console import show
from serve.api.events.schemas import EventsResponse
from serve.api.schemas import RecommendResponse, SimilarResponse
from serve.demonstration.examples import answer_table, requests, strongest_type
from serve.events.config import EventsConfig
from towers.checkpoint.checkpoint import Checkpoint


class Client(Protocol):
    """The methods of `serve.client.RecommendClient` that are used here."""

    def recommend(
        self, *, user_id: str | None = None, request_id: str | None = None, **fields: Any
    ) -> RecommendResponse: ...

    def similar(self, item_id: str, k: int = 10) -> SimilarResponse: ...

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventsResponse: ...


def send_examples(client: Client, checkpoint: Checkpoint, k: int) -> dict[str, Any]:
    """Sends the example requests to the endpoint, shows the answers as tables, and returns them as JSON values."""
    answers = {}
    for title, body in requests(checkpoint, k).items():
        answer = client.recommend(**body)
        show(answer_table(title, answer))
        answers[title] = answer.model_dump(mode="json")
    return answers


def send_example_events(client: Client, user_id: str, k: int, events: EventsConfig) -> dict[str, Any]:
    """Sends three events of a user, shows the answers before and after as tables, and returns them as JSON values.

    The events are of the positive type with the highest weight, with the last item of the answer before and the two
    items most similar to it. Where nothing is left to recommend to the user, as in a small catalogue after several
    demonstrations, it says so, and sends and returns nothing.
    """
    type_ = strongest_type(events)
    before = client.recommend(user_id=user_id, k=k)
    if not before.items:
        print(f"No item is left to recommend to {user_id}, and so none to post an event of.", flush=True)
        return {}
    last = before.items[-1].id
    taken = [last, *(item.id for item in client.similar(last, k=2).items)]
    sent = [{"event_id": uuid.uuid4().hex, "user_id": user_id, "item_id": id_, "type": type_} for id_ in taken]
    started = time.perf_counter()
    client.send_events(sent)
    posted = time.perf_counter()
    after = client.recommend(user_id=user_id, k=k)
    answered = time.perf_counter()
    between_ms = round(1000 * (answered - started), 1)
    show(answer_table(f"{user_id}, before", before))
    show(answer_table(f"{user_id}, after {type_} of {', '.join(taken)}", after))
    print(f"{between_ms} ms from the first byte of the events to the other answer;", end=" ")
    print(f"the events were durable after {1000 * (posted - started):.1f} ms.", flush=True)
    answers = {name: answer.model_dump(mode="json") for name, answer in (("before", before), ("after", after))}
    return answers | {"events": sent, "between_ms": between_ms}
