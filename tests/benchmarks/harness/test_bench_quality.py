"""The settled recipes train on other data than that which they were settled on, and the benchmark tables them."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.bench_quality import main

ELSEWHERE = ("data=synthetic", "train.epochs=1", "evaluate.resamples=100")


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "seeds"), [("gowalla", "0,1"), ("toys", "0")])  # MovieLens's is as Toys's
def test_a_recipe_on_the_planted_log(
    experiment: str,
    seeds: str,
    ray_session: None,
    tiny_overrides: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = [override for override in tiny_overrides if not override.startswith(("tracking", "train"))]
    main(experiment, seeds, (*tiny, *ELSEWHERE))
    found = json.loads(Path("var/bench/quality.json").read_text())
    rows = {row["what"]: row for row in found["rows"]}
    (name,) = {key for key in found if key.startswith(f"{experiment}_recall@") and not key.endswith("_sd")}
    recalls = [rows[f"towers, seed {seed}"]["recall"] for seed in seeds.split(",")]
    mean = rows[f"towers, mean of {len(recalls)}"]["recall"]
    assert found[name] == mean == pytest.approx(sum(recalls) / len(recalls))
    assert rows["popularity"]["recall"] > 0
    assert any(what.endswith("(published)") for what in rows)
