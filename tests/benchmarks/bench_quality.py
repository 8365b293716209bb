"""Quality of the settled recipes on public data, several seeds each, beside baselines and published models:
`DATASETS=... python -m tests.benchmarks.bench_quality [experiments=gowalla,toys] [seeds=0,1,2] [any Hydra override]`.

Each run is that of `python -m towers.train experiment=... seed=...`; one that is already trained is read, not repeated.
Writes var/bench/quality.{md,json}.
"""

import sys
from collections.abc import Iterator
from statistics import mean, stdev
from typing import Any

from rich.console import Console

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from data.dataset.preparation import prepare
from tests.benchmarks.harness.tables import write
from towers.evaluation.report import RERANKED, TOWERS, Report, report_of
from towers.training.fit import train

EXPERIMENTS = "gowalla,movielens_1m_leave_one_out,toys,movielens_1m,movietweetings"
METRICS = ("recall", "ndcg")


def main(experiments: str = EXPERIMENTS, seeds: str = "0,1,2", overrides: tuple[str, ...] = ()) -> None:
    connect(ClusterConfig())  # without its dashboard, Ray Train's watchers complain all the time
    console, rows, means = Console(), [], {}
    for experiment in experiments.split(","):
        configs = [
            load([f"experiment={experiment}", f"seed={s}", "tracking=off", *overrides]) for s in seeds.split(",")
        ]
        manifests = [trained(config) for config in configs]
        reports = [report_of(manifest) for manifest in manifests]
        names = [f"{metric}@{configs[0].evaluate.k}" for metric in METRICS]
        rows += list(others(experiment, configs[0], reports[0], names))
        for seed, report, manifest in zip(seeds.split(","), reports, manifests, strict=True):
            seconds = manifest["training"]["seconds"]
            rows.append(row(experiment, f"towers, seed {seed}", [report.metrics[n] for n in names], seconds))
            rows += list(beside_best_baseline(experiment, seed, report, names))
        found = [[report.metrics[name] for report in reports] for name in names]
        rows.append(row(experiment, f"towers, mean of {len(reports)}", [mean(values) for values in found]))
        means |= {f"{experiment}_{n}": mean(v) for n, v in zip(names, found, strict=True)}
        means |= {f"{experiment}_reranked_{n}": mean(report.reranked[n] for report in reports) for n in names}
        if len(reports) > 1:
            means |= {f"{experiment}_{n}_sd": stdev(v) for n, v in zip(names, found, strict=True)}
    write(
        "quality",
        "Quality on the test part",
        {"seeds": seeds, "metrics": "at 20 on Gowalla, at 10 elsewhere"},
        rows,
        means,
        console,
    )


def trained(config: Config) -> dict[str, Any]:
    """The manifest of the run's checkpoint."""
    storage = Folder.of(config.storage.root)
    return train(config, prepare(config.data, storage), storage).manifest


def others(experiment: str, config: Config, report: Report, names: list[str]) -> list[dict[str, Any]]:
    """Baselines, measured in the same run, and published models."""
    baselines = [row(experiment, name, [values[n] for n in names]) for name, values in report.baselines.items()]
    return baselines + [
        row(experiment, f"{p.name} (published)", [p.metrics.get(n) for n in names]) for p in config.evaluate.published
    ]


def beside_best_baseline(experiment: str, seed: str, report: Report, names: list[str]) -> Iterator[dict[str, Any]]:
    """The towers with re-ranker, and the low ends of the intervals by which both are ahead of the best baseline."""
    yield row(experiment, f"{RERANKED}, seed {seed}", [report.reranked[n] for n in names])
    if (best := report.best_baseline) is not None and report.ahead:
        for ranking in (TOWERS, RERANKED):
            low = [report.ahead[ranking][best][n][1] for n in names]
            yield row(experiment, f"{ranking}, seed {seed}, ahead of {best} by at least", low)


def row(experiment: str, name: str, values: list[Any], seconds: float | None = None) -> dict[str, Any]:
    return {"experiment": experiment, "what": name, **dict(zip(METRICS, values, strict=True)), "training_s": seconds}


if __name__ == "__main__":
    own = dict(
        argument.split("=", 1) for argument in sys.argv[1:] if argument.split("=")[0] in ("experiments", "seeds")
    )
    main(**own, overrides=tuple(a for a in sys.argv[1:] if a.split("=")[0] not in own))
