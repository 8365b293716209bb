"""An error on one line: it ends for every chain of causes, and says why a config value is refused."""

import pytest
from hydra.errors import HydraException

from conf.schema import load
from data.artifacts.errors import ConfigError, causes, one_line


def test_an_error_that_is_its_own_cause() -> None:
    error = ValueError("x")
    error.__cause__ = error
    assert one_line(error) == "x"


def test_a_cycle_of_causes() -> None:
    first, second, third = ValueError("outer"), KeyError("inner"), OSError("innermost")
    first.__cause__, second.__cause__, third.__cause__ = second, third, second
    assert list(causes(first)) == [first, second, third]
    assert one_line(first) == "outer"


def test_a_cause_within_a_cycle_gives_the_key() -> None:
    class Refusal(ValueError):
        full_key = "a.b"

    outer, refusal = HydraException("Error merging override a.b=1.5"), Refusal("not whole\n    full_key: a.b")
    outer.__cause__, refusal.__cause__ = refusal, outer
    assert one_line(outer) == "a.b: not whole (Error merging override a.b=1.5)"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=3.0", "train.epochs: Value '3.0' of type 'float' could not be converted to Integer"),
        ("train.batch_size=110.9", "train.batch_size: Value '110.9' of type 'float' could not be converted to Integer"),
        ("train.use_gpu=maybe", "train.use_gpu: Value 'maybe' is not a valid bool"),
        (
            "train.learning_rate=true",
            "train.learning_rate: Value 'True' of type 'bool' could not be converted to Float",
        ),
        ("seed=null", "seed: field 'seed' is not Optional: null is not accepted, give a value"),
        ("~train.labels", "train.labels: TrainConfig (DictConfig) does not support deletion: give a value instead"),
        ("train.labels=3", "train.labels: Cannot assign int to Dict[str, str]"),
        ("train.schedule=foo", "train.schedule: Invalid value 'foo', expected one of [constant, linear]"),
        ("evaluate.ks=[a]", "evaluate.ks[0]: Value 'a' of type 'str' could not be converted to Integer"),
        ("evaluate.published=[{name:x,source:y,metrics:{a:b}}]", "evaluate.published: metrics.a: Value 'b'"),
        ("data.split=foo", "data.split: Invalid type assigned: str is not a subclass of SplitConfig"),
        ("train.epochs=${nope}", "train.epochs: Interpolation key 'nope' not found"),
        ("train.lerning_rate=3", "train.lerning_rate: Key 'lerning_rate' not in 'TrainConfig'; did you mean learning"),
        ("demo.x=3", "demo.x: Key 'x' not in 'DemoConfig'; known are wait, k"),
        ("+train.foo=3", "train.foo: there is no such key; known are epochs,"),
        ("++train={foo:3}", "train.foo: "),
        ("train.epochs=3=4", "train.epochs=3=4: mismatched input '='"),
        ("train.epochs", "Error parsing override 'train.epochs' missing EQUAL"),
    ],
)
def test_an_override_of_a_wrong_type_says_why(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load([override])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert "append" not in str(caught.value), "what Hydra advises, +key=value, is refused too"


def test_a_time_column_of_null_says_why() -> None:
    with pytest.raises(ConfigError, match=r"^data\.source\.columns\.time: null; a log needs an order"):
        load(["data=csv", "data.source.interactions=x", "data.source.columns.time=null"])
