"""Keys of text hold what was typed, also where it looks like a number or a truth value."""

from pathlib import Path

import pytest

from conf.schema import load
from tests.conf.test_config import run


@pytest.mark.parametrize(
    ("typed", "ids"),
    [
        ("[1_000,1000]", ["1_000", "1000"]),
        ("[81e7, 1E3 ,-0]", ["81e7", "1E3", "-0"]),
        ("[true,False,NaN,inf]", ["true", "False", "NaN", "inf"]),
        ("[1001.0,1.50,.5,+7]", ["1001.0", "1.50", ".5", "+7"]),
        ("[007,0,-3,i00007]", ["007", "0", "-3", "i00007"]),
        ("['1_0',\"2,3_0\",a\\,4_0,5_0 x]", ["1_0", "2,3_0", "a,4_0", "5_0 x"]),
        ("['(',1_0]", ["(", "1_0"]),
        ("[]", []),
    ],
)
def test_ids_are_what_was_typed(typed: str, ids: list[str]) -> None:
    assert load([f"items={typed}"]).items == ids


def test_other_keys_of_text_are_what_was_typed() -> None:
    config = load(["find=81e7", "release=1_0", "++reason=true", "storage.root=1e3", "train.labels.gpu=true"])
    assert (config.find, config.release, config.reason, config.storage.root) == ("81e7", "1_0", "true", "1e3")
    assert config.train.labels == {"gpu": "true"}
    for key in ("train.labels", "++train.labels"):
        assert load([key + "={a: false,b: 1_0, c: 6000}"]).train.labels == {"a": "false", "b": "1_0", "c": "6000"}
    ingest = load(["ingest.properties={security.protocol: SASL_SSL, linger.ms: 005}"]).ingest
    assert ingest.properties == {"security.protocol": "SASL_SSL", "linger.ms": "005"}
    assert load(["ingest.schemas={17: event.avsc}", "ingest.format=avro"]).ingest.schemas == {17: "event.avsc"}
    table = ["data=csv", "data.source.interactions=x", "data.source.missing=[NaN,-1.50]"]
    assert load(table).data.source.missing == ["NaN", "-1.50"]  # type: ignore[attr-defined]


def test_numbers_truth_values_and_null_stay_theirs() -> None:
    config = load(["seed=1_000", "restore=true", "percent=1e1", "find=null", "evaluate.ks=[10,2_0]"])
    assert (config.seed, config.restore, config.percent, config.find) == (1000, True, 10.0, None)
    assert config.evaluate.ks == [10, 20]


def test_a_command_takes_what_was_typed(tmp_path: Path) -> None:
    shown = run("serve.withdraw", "items=[1_000]", "--cfg", "job", "-p", "items", cwd=tmp_path).stdout
    assert "1_000" in shown


def test_a_sweep_takes_what_was_typed(tmp_path: Path) -> None:
    done = run("serve.history", "-m", "storage.root=1_0,1e1", "hydra.sweep.dir=swept", cwd=tmp_path)
    assert done.returncode == 0
    taken = [(tmp_path / f"swept/{number}/.hydra/config.yaml").read_text() for number in range(2)]
    assert "root: '1_0'" in taken[0] and "root: '1e1'" in taken[1]
