"""A misspelt event type is refused, and one of one's own is named, wherever it is typed."""

from pathlib import Path

import pytest

from conf.overrides import refuse_misspelt_types
from conf.schema import composed, load
from data.artifacts.errors import ConfigError
from tests.conf.test_config import run

LOG = ["data=csv", "data.source.interactions=x", "data.source.columns.type=event"]


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("events.types.viev.seen=true", "view"),
        ("events.types.veiw={seen: true}", "view"),
        ("events.types={purchas: {weight: 5}}", "purchase"),
        ("events.types.clicks.weight=1,5", "click"),
    ],
)
def test_a_misspelt_type_is_refused_with_the_known_one(typed: str, known: str) -> None:
    """It was declared beside the known one, which stayed as it was, and nothing was said."""
    with pytest.raises(ConfigError, match=rf"^events\.types\.\w+: .* did you mean {known}\? .* write \+\+events"):
        refuse_misspelt_types([typed], composed)


@pytest.mark.parametrize("prefix", ["+", "++"])
def test_one_that_is_typed_as_a_new_one_is_taken_and_named(prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    types = load([f"{prefix}events.types.viev.seen=true"]).events.types
    assert types["viev"].seen and not types["view"].seen
    assert "note: events.types.viev is a new event type, beside purchase, like, click, view" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dislike", "review", "wish", "add_to_cart"])
def test_one_that_resembles_none_is_taken_and_named_once(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert name in load([f"events.types.{name}.weight=2", f"events.types.{name}.seen=false"]).events.types
    assert capsys.readouterr().err.count("is a new event type") == 1


@pytest.mark.parametrize(
    "overrides",
    [
        ["events.types.view.seen=true"],
        ["events.types={view: {seen: true}, like: {weight: 5}}"],
        [*LOG, "data.events={click: {}, clicks: {weight: 3}}"],
        [*LOG, "data.events.buy.weight=2", "data.events.buys.weight=3"],
    ],
)
def test_known_types_and_those_of_a_log_without_any_are_not_named(
    overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    load(overrides)
    assert capsys.readouterr().err == ""


def test_types_of_a_yaml_are_known(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    own = "defaults: [csv, _self_]\nsource: {interactions: x, columns: {type: event}}\n"
    own += "events: {buy: {}, hide: {sign: negative}}\n"
    (tmp_path / "data" / "shop.yaml").write_text(own)
    command = ("data.prepare", "--config-dir", ".", "data=shop")
    done = run(*command, "data.events.hid.weight=5", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: data.events.hid: there is no event type hid; did you mean hide?")
    assert not (tmp_path / "var").exists()
    shown = run(*command, "data.events.hide.weight=5", "--cfg", "job", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")


def test_seeds_and_other_sweeps_hide_no_misspelt_type(tmp_path: Path) -> None:
    typed = ["-m", "seeds=2", "model.embedding_dim=8,16", "data=events", "events.types.viev.seen=true"]
    done = run("towers.train", *typed, cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean view?" in done.stderr


def test_another_mistake_is_what_it_was() -> None:
    with pytest.raises(ConfigError, match="timeoutms"):
        load(["serve.timeoutms=1", "events.types.wish.weight=2"])
