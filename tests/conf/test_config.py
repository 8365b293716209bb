"""Every yaml composes and builds; a mistake on the command line is one line that names it."""

import json
import os
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from conf.entry import FOLDER, TRACEBACK, launch
from conf.run_files import free_folder
from conf.schema import Config, load, register
from serve.deployment.settings import Topology

REQUIRED = {
    ("data", "movielens"): ["data.source.path=x"],
    ("data", "parquet"): ["data.source.interactions=x"],
    ("data", "csv"): ["data.source.interactions=x"],
    ("auth", "jwt"): ["auth.jwt.issuer=x", "auth.jwt.audience=y", "auth.jwt.jwks=z"],
}
EXPERIMENTS = [[("experiment", path.stem)] for path in sorted(FOLDER.glob("experiment/*.yaml"))]
GROUPS = [folder for folder in sorted(FOLDER.iterdir()) if folder.is_dir() and folder.name != "experiment"]
OPTIONS = zip_longest(*([(folder.name, path.stem) for path in sorted(folder.glob("*.yaml"))] for folder in GROUPS))
TOGETHER = [*EXPERIMENTS, *([option for option in options if option] for options in OPTIONS)]
"""Each experiment alone, since it chooses among the others; and one option of each other group at a time."""
ENTRY_POINTS = [
    "data.prepare", "towers.train", "towers.evaluate", "towers.compare", "serve.publish", "serve.promote",
    "serve.releases", "serve.rollback", "serve.split", "serve.verify", "serve.prune", "serve.run", "serve.demo",
    "serve.recommend", "serve.lift", "serve.guard", "serve.lineage", "serve.withdraw", "serve.keys", "serve.history",
    "serve.approve",
]  # fmt: skip


@pytest.mark.parametrize("options", TOGETHER, ids=lambda options: ",".join(map("=".join, options)))
def test_every_yaml_composes(options: list[tuple[str, str]]) -> None:
    overrides = ["=".join(option) for option in options]
    assert isinstance(load([*overrides, *(o for option in options for o in REQUIRED.get(option, []))]), Config)


def test_values_and_enums_arrive_typed() -> None:
    config = load(["serve=staged", "model.embedding_dim=32"])
    assert config.serve.topology is Topology.staged
    assert config.model.embedding_dim == 32


def test_experiments_bring_their_published_results() -> None:
    published = load(["experiment=gowalla"]).evaluate.published
    assert {result.name: result.metrics["recall@20"] for result in published}["LightGCN"] == 0.182
    assert all(result.source for result in published)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.embedding_dimm=3", "embedding_dimm"),
        ("model.embedding_dim=many", "embedding_dim"),
        ("model.embedding_dim=0", "model.embedding_dim: 0"),
        ("model=nonsense", "nonsense"),
        ("serve.ingress.target_ongoing_requests=100", "target_ongoing_requests"),
        ("serve.ingress.look_back_s=0", "look_back_s"),
        ("serve.grpc_port=8000", r"serve\.grpc_port: 8000 must lie in 0\.\.65535, and not be serve\.port"),
        ("train.suggested=1", r"train\.suggested: 1\.0 must lie in \[0, 1\)"),
        ("data=movielens", "data.source.path"),
        ("index.uri=nowhere", "index.uri: 'nowhere'"),
        ("train.batch_size=1001 train.num_workers=2", "train.batch_size: 1001"),
        ("train.stop_after=9 train.epochs=5", r"train\.stop_after: 9 is more than train\.epochs \(5\); set it to"),
        ("train.gpus_per_worker=2", "train.gpus_per_worker: 2.0"),
        ("train.gpus_per_worker=0.5 train.num_workers=2", "train.gpus_per_worker: 0.5"),
        ("evaluate.ks=[0]", "evaluate.ks"),
        ("evaluate.k=7", "evaluate.k: 7 must be one of"),
        ("evaluate.baselines=[nonsense]", "evaluate.baselines"),
    ],
)
def test_a_wrong_value_is_named_on_one_line(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load(override.split())
    assert "\n" not in str(caught.value)


def run(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400)


def test_unknown_key_on_the_command_line(tmp_path: Path) -> None:
    done = run("serve.promote", "modell.embedding_dim=3", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "modell" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_cfg_job_shows_the_resolved_config(tmp_path: Path) -> None:
    done = run("serve.promote", "--cfg", "job", "--resolve", "model.embedding_dim=48", cwd=tmp_path)
    assert done.returncode == 0
    assert "embedding_dim: 48" in done.stdout


def test_multirun_and_summary(tmp_path: Path) -> None:
    """`-m` runs the task per value; Hydra names the job that could not run, and one line says why."""
    done = run("serve.promote", "-m", "storage.root=one,two", cwd=tmp_path)
    assert done.returncode == 2
    job, reason = done.stderr.splitlines()
    assert "['storage.root=one']" in job
    assert reason.startswith("error: ")
    assert "no release to promote" in reason


def test_a_config_is_loaded_also_while_a_command_runs() -> None:
    """`serve.run` beside an endpoint of a Serve config with overrides reads them so."""
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        assert load(["seed=3"]).seed == 3
        assert compose("config", ["seed=4"]).seed == 4, "the command's own Hydra goes on"


def test_a_training_that_fails_leaves_no_summary_of_before(tmp_path: Path) -> None:
    """With a folder of its own for each night, the checkpoint of the night before was published."""
    summary = tmp_path / "tonight" / "summary.json"
    summary.parent.mkdir()
    summary.write_text("{}")
    for verb, arguments, is_left in (("serve.promote", [], True), ("towers.train", ["train.epochs=-1"], False)):
        assert run(verb, f"hydra.run.dir={summary.parent}", *arguments, cwd=tmp_path).returncode == 2
        assert summary.exists() == is_left


@pytest.mark.parametrize("arguments", [("seeds=3",), ("-m", "seeds=none")])
def test_seeds_are_a_number_and_of_a_sweep(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run("serve.promote", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: seeds: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("module", ENTRY_POINTS)
def test_every_entry_point_takes_cfg(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--cfg", "job"])
    monkeypatch.setenv(TRACEBACK, "0")  # launch changes it
    launch(module)
    assert "embedding_dim: 64" in capsys.readouterr().out


@pytest.mark.slow
def test_summary_is_written_into_the_run_directory(tmp_path: Path) -> None:
    done = run("data.prepare", "data.source.num_users=200", "data.source.num_items=100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (summary,) = (tmp_path / "var" / "runs" / "prepare").rglob("summary.json")
    assert json.loads(summary.read_text())["counts"]["items"] == 100


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    """Such as those that a loop of a shell starts side by side: the summary of the last one was that of all."""
    register()
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        overrides = [f"storage.root={tmp_path}", "hydra.job.name=train"]
        config = compose("config", overrides=overrides, return_hydra_config=True)
    folder = str(config.hydra.run.dir)
    assert Path(folder).is_dir() and Path(folder).parent == tmp_path / "runs" / "train"
    assert config.hydra.run.dir == folder, "a run has one folder, however often it is asked for"
    of_another_process = free_folder.__wrapped__
    assert [of_another_process(folder) for _ in range(2)] == [f"{folder}-2", f"{folder}-3"]


def test_an_object_store_holds_artifacts_and_this_machine_its_runs(tmp_path: Path) -> None:
    assert load(["storage.root=s3://bucket/twotower"]).index.uri == "./var/milvus.db"
    assert load([f"storage.root={tmp_path}"]).index.uri == f"{tmp_path}/milvus.db"
    for mode in ("offline", "online", "off"):
        assert load([f"storage.root={tmp_path}", f"tracking={mode}"]).tracking.folder == f"{tmp_path}/wandb"
    assert load(["storage.root=s3://bucket/twotower"]).tracking.folder == f"{Path.cwd()}/var/wandb"


def test_a_storage_in_the_home_folder_has_its_runs_and_sweeps_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were in a folder called ~ where one stood, and nobody wants to have to remove that."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    overrides = ['storage.root="~/twotower"', "hydra.job.name=train"]
    register()
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        config = compose("config", overrides=overrides, return_hydra_config=True)
    home = f"{tmp_path}/twotower/"
    folders = [config.hydra.run.dir, config.hydra.sweep.dir, config.watch.folder, config.manifests.folder]
    assert all(folder.startswith(home) for folder in [*folders, config.index.uri, config.events.path])
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("command", ["serve.releases", "towers.leaderboard"])
def test_half_a_uri_leaves_no_folder_of_its_name(command: str, tmp_path: Path) -> None:
    done = run(command, "storage.root=s3:/bucket/twotower", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: storage location 's3:/bucket/twotower': a URI begins with s3://")
    assert [path.name for path in tmp_path.iterdir()] == ["var"]
