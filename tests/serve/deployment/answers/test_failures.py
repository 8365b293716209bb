"""What a release on trial fails at is recorded as its failure, for the guard, and written when the replica stops."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from serve.deployment.release_runtime import ReleaseRuntime
from serve.experiments import exposures
from serve.experiments.assignment import CONTROL, Experiment
from serve.experiments.exposure_files import ExposureRun
from serve.releases.pointer import LivePointer
from serve.releases.registry import ReleaseRegistry
from tests.serve.deployment.answers.test_background import settings_of
from tests.serve.ingress_alone import IngressAlone, ingress_alone
from tests.serve.rollout.test_two_phase import registry

__all__ = ["registry"]

TRIAL = "second"
EXPERIMENT = Experiment("trial", {TRIAL: 0.5}, "2026-01-31T09:05:00+00:00")
USERS = {
    variant: next(f"u{n}" for n in range(99) if EXPERIMENT.assign(f"u{n}") == variant) for variant in (CONTROL, TRIAL)
}
FILTER = {"field": "year", "op": ">=", "value": 0}


@pytest.fixture(autouse=True)
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exposures are written at the end alone."""
    monkeypatch.setattr(exposures, "FLUSH_INTERVAL_S", 3600.0)


def on_trial(registry: ReleaseRegistry) -> None:
    def begun(live: LivePointer | None) -> LivePointer:
        assert live is not None
        return replace(live, experiment=EXPERIMENT)

    registry.update_pointer(begun)


def recorded(registry: ReleaseRegistry) -> list[tuple[str, bool]]:
    """Variant and failure of each exposure on the storage."""
    storage = Folder.of(str(Path(registry.folder.path).parent))
    rows = ExposureRun.of(storage, EXPERIMENT).read().table.to_pylist()
    return sorted((row["variant"], row["failed"]) for row in rows)


def runtime(endpoint: IngressAlone) -> ReleaseRuntime:
    found: ReleaseRuntime = endpoint.replica._releases._built[TRIAL]
    return found


async def statuses(endpoint: IngressAlone, **asked: Any) -> list[int]:
    """How a user of control and one of the trial are answered."""
    answers = [await endpoint.http("POST", "/v1/recommend", json={"user_id": user, **asked}) for user in USERS.values()]
    return [answer.status_code for answer in answers]


async def test_what_the_release_on_trial_alone_refuses_is_its_failure(tiny: Config, registry: ReleaseRegistry) -> None:
    on_trial(registry)
    async with ingress_alone(settings_of(tiny, registry)) as endpoint:
        adapter = runtime(endpoint).adapter
        adapter.features = tuple(feature for feature in adapter.features if feature.name != "year")
        assert await statuses(endpoint, filter=FILTER) == [200, 422]
        assert await statuses(endpoint, filter={**FILTER, "field": "nothing"}) == [422, 422]
        batch = [{"user_id": user, "filter": FILTER} for user in USERS.values()]
        refused = await endpoint.http("POST", "/v1/recommend/batch", json={"requests": batch})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"][-3:] == ["requests", 1, "filter"]
        assert recorded(registry) == []
    assert recorded(registry) == [(CONTROL, False), (TRIAL, True), (TRIAL, True)]


@pytest.mark.parametrize("step", ["query", "answer"])
async def test_an_error_before_or_after_the_stages_is_a_failure(
    step: str, tiny: Config, registry: ReleaseRegistry
) -> None:
    """As a request is converted, and as its answer is rendered."""

    def fails(*_: Any) -> Any:
        raise RuntimeError("this release cannot")

    on_trial(registry)
    async with ingress_alone(settings_of(tiny, registry)) as endpoint:
        setattr(runtime(endpoint).adapter, step, fails)
        assert await statuses(endpoint) == [200, 500]
    assert recorded(registry) == [(CONTROL, False), (TRIAL, True)]
