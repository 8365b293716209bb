"""A final fit takes over heads by their place, in whatever order its own goals were typed."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from conf.schema import load
from towers.checkpoint.checkpoint import Checkpoint
from towers.reranking.config import RerankConfig
from towers.training.stages.final_fit import _with_goals_in_order


def test_goals_come_in_the_order_of_the_measured_heads() -> None:
    """The order makes no other checkpoint, and the heads of two goals changed places."""
    config = load(("rerank.goals={purchase: 5, click: 1}",))
    of_measured = replace(config.rerank, goals={"click": 1.0, "purchase": 5.0})
    measured = SimpleNamespace(reranker=SimpleNamespace(config=of_measured))
    found = _with_goals_in_order(config, cast(Checkpoint, measured)).rerank
    assert list(found.goals.items()) == [("click", 1.0), ("purchase", 5.0)]
    assert found == of_measured
    without = SimpleNamespace(reranker=SimpleNamespace(config=RerankConfig()))
    assert _with_goals_in_order(load(()), cast(Checkpoint, without)).rerank.goals == {}
