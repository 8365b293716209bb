"""The commands that benchmarks and drills start use each of the overrides that they are given."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from conf.verbs import refuse_unused
from tests.benchmarks import bench_refresh, bench_swaps
from tests.benchmarks.harness.servers import used_by
from tests.benchmarks.releases import bench_promotion
from tests.chaos.milvus_proxy import MilvusProxy
from tests.chaos.run import serving
from tests.chaos.world import World

WORLD = World(Path("storage"), MilvusProxy("127.0.0.1", 1), ("127.0.0.1", 2), None, None, Random(0))


@pytest.mark.parametrize(
    ("verb", "overrides"),
    [
        ("serve.run", bench_swaps.SERVING),
        ("serve.run", serving(WORLD, 1)),
        ("serve.run", bench_promotion.overrides("root")),
        ("serve.run", used_by("serve.run", bench_refresh.overrides(1))),
        ("serve.withdraw", used_by("serve.withdraw", bench_refresh.overrides(1))),
    ],
)
def test_each_override_is_used(verb: str, overrides: Sequence[str]) -> None:
    refuse_unused(verb, overrides)
    assert any(override.startswith("storage.root=") for override in overrides)
