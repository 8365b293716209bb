"""Fixtures of tests in which a log, a yaml or the code changes between two launches of a sweep."""

from pathlib import Path

import pytest

from conf.schema import register
from tests.towers.sweeps.changing_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    register()
    return World(tmp_path)
