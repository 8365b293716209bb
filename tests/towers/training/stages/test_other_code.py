"""What other code has begun goes on, with a word, and is not sealed as of the present code."""

from dataclasses import replace

import pytest
import ray

from conf.schema import Config
from data.artifacts.folders import Folder
from data.artifacts.seals import remove_sealed
from data.cluster.code_digest import CODE, MIXED, joint_code
from data.dataset.prepared import PreparedDataset
from towers.model.config import FittedSplits
from towers.sweeps.trial import Trial, working_for
from towers.sweeps.trial_reports import TrialReports
from towers.training.fit import train
from towers.training.runs import present_code, training_name
from towers.training.stages import fit_towers, measured_fit


@pytest.mark.parametrize(
    ("codes", "wanted"),
    [(("a",), "a"), (("a", "a"), "a"), (("a", "b"), MIXED), (("a", None), MIXED), ((None, None), MIXED)],
)
def test_code_of_several_parts(codes: tuple[str | None, ...], wanted: str) -> None:
    assert joint_code(*codes) == wanted


@pytest.mark.slow
def test_epochs_of_other_code_are_gone_on_from_and_told(
    tiny: Config, dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, storage = replace(tiny, seed=71, train=replace(tiny.train, epochs=1)), Folder.of(tiny.storage.root)
    with monkeypatch.context() as before:
        for module in (fit_towers, measured_fit):
            before.setattr(module, "present_code", lambda: "of before")
        first = train(config, dataset, storage)
    assert first.manifest[CODE] == "of before"
    remove_sealed(first.folder)  # as after a kill before it was sealed

    said: list[str] = []
    assert train(config, dataset, storage, said.append).manifest[CODE] == MIXED
    saved = storage / "training" / training_name(config, dataset)
    assert (
        f"train: {saved.name} goes on from 1 epoch(s) that another version of the code or its libraries has trained;"
        f" remove {saved} to train from the start"
    ) in said
    said.clear()
    train(config, dataset, storage, said.append)
    assert f"by another version of the code or its libraries; remove {first.folder} and {saved}" in said[0]

    with working_for(Trial(0, "sweep", ray.remote(TrialReports).remote(False), same_code=True)):
        assert train(config, dataset, storage, said.append).manifest[CODE] == present_code()
    assert f"train: {first.name} was trained by another version of the code, and is trained again" in said


@pytest.mark.slow
def test_a_final_fit_on_a_backtest_of_other_code_is_of_mixed_code(tiny: Config, dataset: PreparedDataset) -> None:
    train_config = replace(tiny.train, epochs=1, fit_on=FittedSplits.all)
    config, storage = replace(tiny, seed=72, train=train_config), Folder.of(tiny.storage.root)
    final = train(config, dataset, storage)
    backtest, measured = (Folder.of(final.manifest[of]) for of in ("backtest", "settled"))
    assert final.manifest[CODE] == backtest.read_json("manifest.json")[CODE] == present_code()
    for of in (backtest, measured):
        remove_sealed(final.folder)
        manifest = of.read_json("manifest.json")
        of.write_json("manifest.json", manifest | {CODE: "of before"})
        final = train(config, dataset, storage)
        assert final.manifest[CODE] == MIXED
        said: list[str] = []
        train(config, dataset, storage, said.append)
        assert f"{final.folder}" in said[0] and f"{of}" in said[0], "what to remove"
        of.write_json("manifest.json", manifest)
