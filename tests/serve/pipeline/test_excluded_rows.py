"""What a query may not be answered with: what is excluded, and what the user has seen, in the log or by events."""

from dataclasses import replace

import numpy as np

from serve.pipeline.messages import Query, UserVector
from serve.pipeline.retriever import excluded_rows, num_left_out


def excluded(exclude_seen: bool = True) -> list[int]:
    query = Query(
        release_id="r",
        user_id="u",
        k=1,
        num_candidates=100,
        recent=(5, 6, 2),
        history=(7,),
        seen=(6, 9),
        exclude=(8,),
        exclude_seen=exclude_seen,
    )
    return sorted(excluded_rows(query, UserVector("r", None, np.array([1, 2, 5, 6, 2, 7]))).tolist())


def test_recent_items_are_excluded_where_their_event_counts_as_seen() -> None:
    """5 was viewed alone; 6 was bought; 2 was viewed now, and is in the log; 9 was dismissed."""
    assert excluded() == [1, 2, 6, 7, 8, 9]


def test_what_is_seen_may_come_again_where_the_query_says_so() -> None:
    assert excluded(exclude_seen=False) == [8]


def test_an_explanation_counts_what_the_request_and_the_user_leave_out_each_item_once() -> None:
    """An item that is denied to everybody is left out too, and is no doing of either."""
    query = Query(
        release_id="r", user_id="u", k=1, num_candidates=9, exclude=(8, 8, 1), denied=(3, 4, 8), exclude_seen=False
    )
    user = UserVector("r", None, np.array([1, 2, 2]))
    assert excluded_rows(query, user).tolist() == [1, 3, 4, 8]
    assert num_left_out(query, user) == 2
    masked = replace(query, exclude_seen=True)
    assert excluded_rows(masked, user).tolist() == [1, 2, 3, 4, 8]
    assert num_left_out(masked, user) == 3
