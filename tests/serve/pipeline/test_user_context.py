"""The context of a request reaches the user tower as in training."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from data.dataset.catalogue import Catalogue
from serve.pipeline.messages import Query, UserVector
from serve.pipeline.retriever import excluded_rows
from serve.pipeline.user_encoder import KnownUser, UserEncoder
from tests.towers.model.test_context import CONTEXT, model
from towers.model.history.padding import pad


def test_the_user_encoder_takes_the_context_of_each_request() -> None:
    towers, items = model(), Catalogue("item_id", pa.table({"item_id": ["a"]}), ())
    users, none = SimpleNamespace(ids=None), None
    parts: Any = SimpleNamespace(
        model=towers, users=users, items=items, history=none, seen=none, manifest={"item_scales": {}}
    )
    rows = CONTEXT.rows({"channel": "web", "daypart": "evening"})
    found = UserEncoder("r", parts).vectors([KnownUser(1, np.array([3]), rows), KnownUser(1, np.array([3]))])
    wanted = towers.user_vectors(torch.tensor([1, 1]), pad([[3], [3]], 4), torch.tensor([rows, (0, 0)])).detach()
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert not np.allclose(found[0], found[1])


def test_what_counts_as_seen_is_left_out_and_not_the_whole_history() -> None:
    query = Query(release_id="r", user_id="u", k=1, num_candidates=1, history=(7,), exclude=(9,))
    viewed_and_bought = UserVector("r", None, np.array([1, 2, 7]), seen=np.array([2, 5]))
    assert excluded_rows(query, viewed_and_bought).tolist() == [2, 5, 7, 9]
    of_positives = UserVector("r", None, np.array([1, 2, 7]))
    assert excluded_rows(query, of_positives).tolist() == [1, 2, 7, 9], "without event types"
