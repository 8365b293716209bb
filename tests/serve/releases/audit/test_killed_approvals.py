"""What the history has of approvals whose process was killed between a step and its entry in the history."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts.folders import Folder
from serve.history import task
from serve.releases.audit import approvals as approvals_module
from serve.releases.audit.approvals import Approvals, NeedsApproval
from serve.releases.audit.history import read_history


class Killed(BaseException):
    pass


@pytest.fixture
def approvals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Approvals:
    monkeypatch.setenv("OPERATOR", "ada")
    return Approvals(Folder.of(str(tmp_path)) / "releases")


def killed_before_the_history(monkeypatch: pytest.MonkeyPatch, call: Callable[[], object], but: int = 0) -> None:
    """Calls something that is killed when it adds an entry to the history; not the first `but` ones."""
    record, entries = approvals_module.record_stamped, list[object]()

    def kill(*arguments: object) -> None:
        entries.append(arguments)
        if len(entries) > but:
            raise Killed
        record(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(approvals_module, "record_stamped", kill)
        call()


def shown(tmp_path: Path) -> list[tuple[str, str]]:
    """What the command shows, the oldest first."""
    entries = task(load([f"storage.root={tmp_path}", "last=100"]))["history"]
    return [(entry["action"], entry["by"]) for entry in reversed(entries)]


def recorded(approvals: Approvals) -> list[tuple[str, str]]:
    return [(entry["action"], entry["by"]) for entry in reversed(read_history(approvals.releases, 100))]


def asked(approvals: Approvals) -> str:
    with pytest.raises(NeedsApproval):
        approvals.check("promote", release="b")
    (request,) = approvals.waiting()
    return request.id


def test_a_policy(approvals: Approvals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_before_the_history(monkeypatch, lambda: approvals.require(["promote"]))
    assert shown(tmp_path) == [("policy", "ada")]
    monkeypatch.setenv("OPERATOR", "bob")
    approvals.require(["promote", "withdraw"])
    assert recorded(approvals) == shown(tmp_path) == [("policy", "ada"), ("policy", "bob")]


def test_an_approval(approvals: Approvals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    approvals.require(["promote"])
    request = asked(approvals)
    monkeypatch.setenv("OPERATOR", "bob")
    killed_before_the_history(monkeypatch, lambda: approvals.approve(request))
    assert shown(tmp_path) == [("policy", "ada"), ("approve", "bob")]
    monkeypatch.setenv("OPERATOR", "ada")
    approvals.check("promote", release="b")
    assert recorded(approvals) == shown(tmp_path) == [("policy", "ada"), ("approve", "bob"), ("approved", "ada")]


def test_the_use_of_an_approval(approvals: Approvals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    approvals.require(["promote"])
    request = asked(approvals)
    monkeypatch.setenv("OPERATOR", "bob")
    approvals.approve(request)
    monkeypatch.setenv("OPERATOR", "ada")
    killed_before_the_history(monkeypatch, lambda: approvals.check("promote", release="b"), but=1)
    told = [("policy", "ada"), ("approve", "bob"), ("approved", "ada")]
    assert shown(tmp_path) == told
    assert asked(approvals) == request, "it was used"
    monkeypatch.setenv("OPERATOR", "bob")
    approvals.approve(request)
    assert recorded(approvals) == shown(tmp_path) == [*told, ("approve", "bob")]
