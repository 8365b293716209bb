"""A trial of known work for bench_sweep.

`python -m tests.benchmarks.harness.trial -m number=range(16) hydra/launcher=...`
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import hydra
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig

TOOK = "took.json"


@dataclass
class Work:
    """`steps` matrix products of `size`, on one thread."""

    number: int = 0
    steps: int = 1000
    size: int = 256


ConfigStore.instance().store(name="trial", node=Work)


@hydra.main(config_path=None, config_name="trial", version_base="1.3")
def run(work: Work) -> float:
    """Leaves in its folder when it began and ended, unix seconds."""
    torch.set_num_threads(1)
    began = time.time()
    x = torch.ones(work.size, work.size)
    for _ in range(work.steps):
        x = (x @ x).clamp_(max=1)
    times = {"began": began, "ended": time.time()}
    Path(HydraConfig.get().runtime.output_dir, TOOK).write_text(json.dumps(times))
    return times["ended"] - began


if __name__ == "__main__":
    run()
