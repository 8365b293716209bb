"""What interactions say: the sign, the weight and the seen mark of each event type, worked by hand."""

import pyarrow as pa
import pytest

from data.artifacts.errors import ConfigError
from data.sources.event_types import EventType, EventTypes, Sign, is_negative, is_positive

SHOP = EventTypes(
    {
        "buy": EventType(weight=5.0),
        "view": EventType(seen=False, relevant=False),
        "hide": EventType(sign=Sign.negative, weight=2.0),
        "shown": EventType(sign=Sign.ignore),
        "owned": EventType(sign=Sign.ignore, seen=True),
    }
)


def block(types: list[str | None], weights: list[float]) -> pa.Table:
    return pa.table({"type": pa.array(types, pa.string()), "weight": pa.array(weights, pa.float32())})


def test_types_give_codes_weights_and_what_is_kept() -> None:
    found = SHOP.classified(block(["view", "buy", "shown", "hide", "owned", "other", None], [1, 2, 1, 1, 1, 1, 1]))
    assert found["type"].to_pylist() == [1, 0, 2, 4]
    assert found["weight"].to_pylist() == [1.0, 10.0, 2.0, 1.0]  # the log's weight times that of the type
    assert SHOP.having(is_positive).tolist() == [True, True, False, False, False]
    assert SHOP.having(is_negative).tolist() == [False, False, True, False, False]
    assert SHOP.having(lambda of: of.is_seen).tolist() == [True, False, True, False, True]


def test_a_rating_decides_about_the_sign_alone() -> None:
    rated = EventTypes.rated(4.1, EventType(sign=Sign.negative, weight=0.5))
    found = rated.classified(block([None] * 4, [5, 4.1, 4, 1]))
    assert found["type"].to_pylist() == [0, 0, 1, 1]
    assert found["weight"].to_pylist() == [1.0, 1.0, 0.5, 0.5]


def test_types_come_back_from_a_manifest() -> None:
    assert EventTypes.of_manifest(SHOP.as_manifest()) == SHOP
    rated = EventTypes.rated(4, EventType(sign=Sign.negative))
    assert EventTypes.of_manifest(rated.as_manifest()) == rated
    assert not EventTypes.of_manifest(None)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_is_above_0(weight: float) -> None:
    with pytest.raises(ConfigError, match=r"data\.events\.weight: .* must be above 0"):
        EventType(weight=weight)
