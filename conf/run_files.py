"""What a run writes of its config into its folder, in the place of Hydra's own files: the same without secrets."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from data.artifacts.secrets import MASK, masked_override, recordable

RUN_FILES = ".hydra"
"""The folder of these files in the folder of a run, which bears the name that Hydra gives it."""


@cache
def free_folder(path: str) -> str:
    """Makes a folder and returns its path, with a number behind it where another run of the same second has it.

    In one process, the same path is always the same folder.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = path if number == 1 else f"{path}-{number}"
        try:
            Path(folder).mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("some number is free")


def write_run_files(folder: Path, config: DictConfig) -> None:
    """Writes `config.yaml`, `hydra.yaml` and `overrides.yaml` as Hydra does (`hydra.output_subdir` turns its own off).

    Args:
        folder: the folder of the run.
        config: the config without that of Hydra.
    """
    of_hydra: Any = HydraConfig.instance().cfg
    written = folder / RUN_FILES
    written.mkdir(parents=True, exist_ok=True)
    for name, values in (
        ("config", without_secrets(config)),
        ("hydra", (hydra := without_secrets(of_hydra))),
        ("overrides", hydra["hydra"]["overrides"]["task"]),
    ):
        (written / f"{name}.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(values)))


def without_secrets(config: DictConfig) -> dict[str, Any]:
    """The values of a config, with or without that of Hydra, with secrets masked."""
    values: Any = OmegaConf.to_container(config, resolve=False)
    found: dict[str, Any] = recordable(values)
    overrides = values.get("hydra", {}).get("overrides", {})
    if overrides:
        shown = {kind: [masked_override(str(one)) for one in of] for kind, of in overrides.items()}
        found["hydra"]["overrides"] = shown
        if shown != overrides:
            found["hydra"]["job"]["override_dirname"] = MASK  # all of them in one word
    return found


@contextmanager
def sweeps_without_secrets() -> Iterator[None]:
    """Within the block, the file of a sweep (`multirun.yaml`), which Hydra's sweepers save, is without secrets."""
    original = OmegaConf.save

    def save(config: Any, f: Any, resolve: bool = False) -> None:
        is_config = isinstance(config, DictConfig)
        original(OmegaConf.create(without_secrets(config)) if is_config else config, f, resolve)

    OmegaConf.save = save  # type: ignore[method-assign]
    try:
        yield
    finally:
        OmegaConf.save = original  # type: ignore[method-assign]
