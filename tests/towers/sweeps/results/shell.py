"""What a printed command composes, when it is given to a shell."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from conf.schema import FOLDER


def composed_in_a_shell(printed: str, folder: Path) -> DictConfig:
    """The config that a command composes, which begins with `python` and is run in a folder; nothing else is done."""
    command = f"{shlex.quote(sys.executable)}{printed.removeprefix('python')} --cfg job"
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    config = OmegaConf.create(done.stdout)
    assert isinstance(config, DictConfig)
    return config
