"""Where a storage asks for it, promotions and recalls wait for a second operator, and an approval is used once."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from serve import approve
from serve.experiments.assignment import TrafficConfig
from serve.index.config import IndexConfig
from serve.releases.audit.approvals import Approvals, NeedsApproval
from serve.releases.audit.history import read_history
from serve.releases.audit.requests import ApprovalRequest
from serve.releases.registry import ReleaseRegistry
from serve.rollout import promotion
from serve.rollout.denylist import deny, restore
from serve.rollout.promotion import promote, split
from tests.data.artifacts.two_writers import interrupting


class People:
    """Switches between operators."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._environment = monkeypatch

    def act(self, name: str) -> None:
        self._environment.setenv("OPERATOR", name)


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> People:
    people = People(monkeypatch)
    people.act("ada")
    return people


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleaseRegistry:
    """Release `a` is live; any release is sound."""
    monkeypatch.setattr(ReleaseRegistry, "manifest", lambda *_: {})
    monkeypatch.setattr(promotion, "_verify", lambda *_: None)
    registry = ReleaseRegistry.of(Folder.of(str(tmp_path)))
    registry.promote("a")
    return registry


def request_of(waiting: pytest.ExceptionInfo[NeedsApproval]) -> str:
    return str(waiting.value).partition("request=")[2].split()[0]


def test_nothing_waits_unless_asked_for(registry: ReleaseRegistry, people: People) -> None:
    assert promote(IndexConfig(), registry, "b", 1).live.release == "b"
    assert Approvals(registry.folder).required() == []


def test_a_promotion_waits_for_another_operator(registry: ReleaseRegistry, people: People) -> None:
    approvals = Approvals(registry.folder)
    approvals.require(["promote"])
    for _ in range(2):
        with pytest.raises(
            NeedsApproval, match=r"promote percent=100, release=b: waits .* request=\w+ within 24 hours"
        ) as w:
            promote(IndexConfig(), registry, "b", 1)
    with pytest.raises(ConfigError, match="was asked for by ada; another operator must approve it"):
        approvals.approve(request_of(w))
    people.act("bob")
    approvals.approve(request_of(w))
    people.act("ada")
    with pytest.raises(NeedsApproval):
        promote(IndexConfig(), registry, "c", 1)
    assert promote(IndexConfig(), registry, "b", 1).live.release == "b"
    registry.promote("a")
    with pytest.raises(NeedsApproval):
        promote(IndexConfig(), registry, "b", 1)
    told = [(entry["action"], entry["by"]) for entry in read_history(registry.folder, 20) if "action" in entry]
    assert told == [("approved", "ada"), ("approve", "bob"), ("policy", "ada")]


def test_a_promotion_is_one_request_whoever_asks_for_it(registry: ReleaseRegistry, people: People) -> None:
    """`serve.promote` gives the percent of the config, which is a float, and `serve.refresh` gives none."""
    Approvals(registry.folder).require(["promote"])
    asked = []
    for percent in (100, 100.0):
        with pytest.raises(NeedsApproval) as waiting:
            promote(IndexConfig(), registry, "b", 1, percent=percent)
        asked.append(request_of(waiting))
    assert asked[0] == asked[1]


def test_a_canary_and_an_experiment_wait_too_and_ending_them_does_not(
    registry: ReleaseRegistry, people: People
) -> None:
    Approvals(registry.folder).require(["promote"])
    with pytest.raises(NeedsApproval, match="promote percent=5, release=b"):
        promote(IndexConfig(), registry, "b", 1, percent=5)
    with pytest.raises(NeedsApproval, match="promote experiment=home"):
        split(IndexConfig(), registry, TrafficConfig(name="home", shares={"b": 0.1}), 1)
    assert split(IndexConfig(), registry, TrafficConfig(), 1).live.experiment is None


def test_recalls_wait(registry: ReleaseRegistry, people: People) -> None:
    approvals = Approvals(registry.folder)
    approvals.require(["withdraw"])
    with pytest.raises(NeedsApproval, match="withdraw items=") as waiting:
        deny(registry, ["i2", "i1"], "recalled", 1)
    people.act("bob")
    approvals.approve(request_of(waiting))
    people.act("ada")
    live = deny(registry, ["i1", "i2"], "recalled", 1).live
    assert registry.read_denylist(live.denylist) == {"i1", "i2"}
    with pytest.raises(NeedsApproval):
        restore(registry, ["i1"], 1)


def test_to_ask_for_less_needs_an_approval_itself(registry: ReleaseRegistry, people: People) -> None:
    approvals = Approvals(registry.folder)
    approvals.require(["promote"])
    approvals.require(["promote", "withdraw"])
    with pytest.raises(NeedsApproval) as waiting:
        approvals.require([])
    assert approvals.required() == ["promote", "withdraw"]
    people.act("bob")
    approvals.approve(request_of(waiting))
    approvals.require([])
    assert approvals.required() == []
    with pytest.raises(ConfigError, match="require: 'rollback' must be one of promote, withdraw"):
        approvals.require(["rollback"])


def test_an_old_request_does_not_count(registry: ReleaseRegistry, people: People) -> None:
    approvals = Approvals(registry.folder)
    approvals.require(["promote"])
    with pytest.raises(NeedsApproval) as waiting:
        promote(IndexConfig(), registry, "b", 1)
    (request,) = approvals.waiting()
    old = ApprovalRequest(**{**asdict(request), "at": "2026-01-01T00:00:00+00:00", "approved_by": "bob"})
    approvals.folder.write_json(f"{request.id}.json", asdict(old))
    people.act("bob")
    with pytest.raises(ConfigError, match=r"does not wait for an approval \(there are: none\)"):
        approvals.approve(request_of(waiting))
    with pytest.raises(NeedsApproval, match="asked for by bob"):
        promote(IndexConfig(), registry, "b", 1)


def test_the_command(
    registry: ReleaseRegistry, people: People, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = f"storage.root={tmp_path}"
    assert approve.task(load([root, "require=[promote]"])) == {"require": ["promote"], "waiting": []}
    with pytest.raises(NeedsApproval) as waiting:
        promote(IndexConfig(), registry, "b", 1)
    assert approve.task(load([root]))["waiting"] == [request_of(waiting)]
    people.act("bob")
    assert approve.task(load([root, f"request={request_of(waiting)}"]))["waiting"] == []
    assert "ada may now run it again (promote percent=100, release=b)" in capsys.readouterr().out


@pytest.mark.parametrize("step", range(1, 4))
def test_an_approval_is_used_once_where_two_processes_meet(
    bucket: Folder, people: People, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each asks for the same thing; an approval that both have read lets one of them go on."""
    approvals, gone_on = Approvals(bucket), []

    def go_on(who: str) -> None:
        with suppress(NeedsApproval):
            approvals.check("promote", release="b")
            gone_on.append(who)

    approvals.require(["promote"])
    with pytest.raises(NeedsApproval) as waiting:
        approvals.check("promote", release="b")
    people.act("bob")
    approvals.approve(request_of(waiting))
    interrupting(monkeypatch, bucket, step, lambda: go_on("another"))
    go_on("one")
    assert len(gone_on) == 1


def test_a_second_policy_does_not_undo_the_first_unasked(
    bucket: Folder, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    approvals = Approvals(bucket)
    interrupting(monkeypatch, bucket, 2, lambda: approvals.require(["promote", "withdraw"]))
    with pytest.raises(NeedsApproval, match="policy require=\\['promote'\\]: waits"):
        approvals.require(["promote"])
    assert approvals.required() == ["promote", "withdraw"]


def test_an_approval_does_not_bring_a_used_request_back(
    bucket: Folder, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two approve at the same time, and the command runs in between: the second approval is not of what has run."""
    approvals = Approvals(bucket)
    approvals.require(["promote"])
    with pytest.raises(NeedsApproval) as waiting:
        approvals.check("promote", release="b")
    people.act("bob")

    def approve_and_run() -> None:
        approvals.approve(request_of(waiting))
        approvals.check("promote", release="b")

    interrupting(monkeypatch, bucket, 3, approve_and_run)
    with pytest.raises(ConfigError, match="does not wait for an approval"):
        approvals.approve(request_of(waiting))
    with pytest.raises(NeedsApproval):
        approvals.check("promote", release="b")


def test_a_request_and_a_policy_of_a_later_version_are_read(registry: ReleaseRegistry, people: People) -> None:
    approvals = Approvals(registry.folder)
    approvals.require(["promote"])
    with pytest.raises(NeedsApproval) as waiting:
        promote(IndexConfig(), registry, "b", 1)
    name = f"{request_of(waiting)}.json"
    approvals.folder.write_json(name, approvals.folder.read_json(name) | {"ticket": "OPS-1"})
    approvals.folder.write_json("policy.json", {"require": ["promote"], "since": "2026"})
    people.act("bob")
    approvals.approve(request_of(waiting))
    people.act("ada")
    assert promote(IndexConfig(), registry, "b", 1).live.release == "b"


def test_a_recall_that_is_given_again_until_all_confirm_it_needs_no_second_approval(
    registry: ReleaseRegistry, people: People
) -> None:
    """`serve.withdraw` names a replica that may still answer, and says to give the command again."""
    approvals = Approvals(registry.folder)
    approvals.require(["withdraw"])
    with pytest.raises(NeedsApproval) as waiting:
        deny(registry, ["i1", "i2"], "recalled", 1)
    people.act("bob")
    approvals.approve(request_of(waiting))
    recalled = deny(registry, ["i1", "i2"], "recalled", 1).live
    assert deny(registry, ["i1", "i2"], "recalled", 1).live == deny(registry, ["i2"], "again", 1).live == recalled
    with pytest.raises(NeedsApproval):
        deny(registry, ["i2", "i3"], "recalled", 1)
    assert restore(registry, ["i3"], 1).live == recalled
