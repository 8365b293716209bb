"""What the events of a request's user change: the query, and which popular items stand in for better ones."""

from collections.abc import Awaitable, Callable

from serve.api.events.known import with_last_context, with_state
from serve.deployment.answers.popular_items import PopularItems
from serve.deployment.answers.rendered import Asked
from serve.events.service import UserEvents
from serve.pipeline.fallback import Fallback
from serve.pipeline.messages import Query


def state_reader(
    asked: Asked, popular: PopularItems, events: UserEvents | None
) -> Callable[[], Awaitable[tuple[Query, Fallback]]] | None:
    """Returns what reads the state of the request's user, and returns the query with it and the popular items.

    These are those of the context of the request, together with that of the user's last event.

    Args:
        events: The states of users; None where events are off.

    Returns:
        None where there is no user, or no state.
    """
    user_id = asked.request.user_id
    if events is None or user_id is None:
        return None
    adapter, given = asked.runtime.adapter, asked.request.context

    async def read() -> tuple[Query, Fallback]:
        state = await events.read(user_id)
        query = with_state(asked.query, state, given, adapter, events.config)
        return query, popular.of(adapter, with_last_context(given, state, events.config))

    return read
