"""What Hydra asks of every launcher: its own test suite."""

from pathlib import Path

import pytest
import ray
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import _UNSPECIFIED_, VersionBase

from hydra_plugins.twotower_ray.launcher import RayLauncher
from hydra_plugins.twotower_ray.sweeper import OptunaSweeper

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_version_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's suite expects a process in which no version base was set; `conf.schema.load` sets one."""
    monkeypatch.setattr(VersionBase.instance(), "version_base", _UNSPECIFIED_)


QUICK = ["hydra.launcher.cpus=0", "hydra.launcher.ship_code=false"]


def test_hydra_finds_the_plugins() -> None:
    assert RayLauncher.__name__ in [x.__name__ for x in Plugins.instance().discover(Launcher)]
    assert OptunaSweeper.__name__ in [x.__name__ for x in Plugins.instance().discover(Sweeper)]


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("ray", QUICK)])
class TestRayLauncher(LauncherTestSuite):
    pass


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("ray", ["hydra.sweeper.max_batch_size=2", *QUICK])])
class TestRayLauncherInBatches(BatchedSweeperTestSuite):
    pass


@pytest.fixture
def found_elsewhere(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's apps lie in folders of their own; all join one Ray."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # or 127.0.0.1 would be taken for the address outside


@pytest.mark.slow
@pytest.mark.usefixtures("found_elsewhere")
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", "hydra/launcher=ray", "hydra.launcher.resume=false", *QUICK])]
)
class TestRayLauncherIntegration(IntegrationTestSuite):
    pass
