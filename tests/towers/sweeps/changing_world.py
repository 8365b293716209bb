"""A log, a yaml and the code of a sweep, which change between two launches; conftest.py has the fixtures."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import HydraContext, RunMode

from conf.schema import FOLDER
from conf.verbs import decides
from towers.sweeps.launch import earlier_records
from towers.sweeps.records import Record, Records, State
from towers.sweeps.reuse.inputs import InputsReader
from towers.sweeps.trial_process import SweepContext
from towers.sweeps.trial_sources import FixedTrials

GRID = """# @package _global_
data:
  users_per_part: {users}
train:
  epochs: 3
"""


class World:
    """A log, a yaml and the code of a sweep, which may change between two launches."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.code = folder, "one"
        self.typed_in: list[str] = []
        self.log = folder / "clicks.csv"
        self.log.write_text("user_id,item_id,time\na,b,1\n")
        self.write_yaml(users=50)

    def write_yaml(self, users: int) -> None:
        (self.folder / "my" / "experiment").mkdir(parents=True, exist_ok=True)
        (self.folder / "my" / "experiment" / "mygrid.yaml").write_text(GRID.format(users=users))

    def reader(self, *, same_code: bool = True, verb: str = "data.prepare") -> tuple[InputsReader, SweepContext]:
        """As a launch of `verb` makes it."""
        places = create_config_search_path(str(FOLDER))
        places.prepend("command-line", f"file://{self.folder}/my", "schema")
        loader = ConfigLoaderImpl(places)
        overrides = ["experiment=mygrid", "data=csv", f"data.source.interactions={self.log}", *self.typed_in]
        context = HydraContext(loader, Callbacks())
        config = loader.load_configuration("config", overrides, RunMode.MULTIRUN)
        config.hydra.sweep.dir = str(self.folder / "sweep")
        sweep = SweepContext(
            name="sweep", hydra_context=context, config=config, task_function=lambda of: None, singletons=None,
            working_directory="",
        )  # fmt: skip
        return InputsReader(sweep, self.code, partial(decides, verb), same_code), sweep

    def trials(self, jobs: Sequence[list[str]]) -> list[str]:
        """A launch of these trials, which all finish; returns those that ran."""
        inputs, sweep = self.reader()
        source = FixedTrials(jobs, 0, earlier_records(self.folder / "sweep", inputs))
        ran = []
        while (following := source.next_trial()) is not None:
            number, overrides = following
            now = inputs.of(sweep.trial_config(number, overrides)).as_json()
            record = Record(number=number, overrides=overrides, state=State.finished, result={"v": 1.0}, inputs=now)
            Records(self.folder / "sweep").add(record)
            ran.append(overrides[-1])
        return ran


JOBS = [[*("experiment=mygrid", "data=csv"), f"data.split.kind={kind}"] for kind in ("temporal", "leave_last_out")]


def jobs(world: World) -> list[list[str]]:
    return [[*job[:2], f"data.source.interactions={world.log}", job[2]] for job in JOBS]
