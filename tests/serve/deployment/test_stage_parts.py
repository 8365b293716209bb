"""A replica opens the files of its own stage alone, maps what is large, and reads nothing on its event loop."""

import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest

import data.artifacts.folders
import data.dataset.catalogue
import data.sources.values.string_index
import serve.filters.masks
import towers.checkpoint.opening.parts
import towers.checkpoint.tensor_files
import towers.model.features
from conf.schema import Config, load
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import NotSealed
from serve.api.schemas import RecommendRequest
from serve.deployment.release_runtime import ReleaseRuntime, new_breakers, open_runtime
from serve.deployment.replica import ReplicaSettings
from serve.deployment.stages.local import (
    LocalStages,
    build_reranker,
    build_retriever,
    build_user_encoder,
)
from serve.pipeline.budget import BudgetLimits
from serve.pipeline.request import recommend
from serve.releases.golden_queries import GOLDEN_FILE
from serve.releases.model_card import CARD_FILE
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from tests.benchmarks.releases.made import made_release
from tests.reporting.skipping import skip
from towers.checkpoint.opening.parts import MODEL_FILE, RERANKER_FILE, SEQUENCES_FILE, VECTORS_FILE

ITEMS = {"items.parquet", "items.vocabularies.parquet"}
USERS = {"users.parquet", "users.vocabularies.parquet"}
ALWAYS = {MANIFEST, GOLDEN_FILE, CARD_FILE}

Build = Callable[[ReplicaSettings, Release], Awaitable[Any]]
BUILDS: dict[str, Build] = {
    "embedder": build_user_encoder,
    "retriever": build_retriever,
    "reranker": build_reranker,
    "ingress": lambda settings, release: open_runtime(settings, release, *[None] * 3),  # type: ignore[list-item]
    "fused": open_runtime,
}
"""How a replica of each kind builds what it holds; the stages that an ingress calls do not answer its warm-up."""

NEEDED = {
    "embedder": {MODEL_FILE, SEQUENCES_FILE, *ITEMS, *USERS},
    "retriever": {VECTORS_FILE, *ITEMS},
    "retriever, index=milvus": ITEMS,
    "reranker": {RERANKER_FILE, VECTORS_FILE, *ITEMS},
    "ingress": ITEMS,
}
INDEXES = ("replica", "milvus")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    root = tmp_path_factory.mktemp("made")
    return load([f"storage.root={root}", f"index.uri={root}/milvus.db", "tracking=off", "index.timeout_s=60"])


@pytest.fixture(scope="module")
def release(config: Config) -> Release:
    """A published release that nothing was trained for: what is opened does not depend on it."""
    return ReleaseRegistry.of(Folder.of(config.storage.root)).open(made_release(config, 300, 200, seed=1))


def settings_of(config: Config, index: str = "replica") -> ReplicaSettings:
    kind = replace(config.index, kind=index)
    return ReplicaSettings(storage_root=config.storage.root, index=kind, serve=config.serve, auth=config.auth)


def copied(release: Release, to: Path, without: set[str] = frozenset()) -> ReleaseRegistry:  # type: ignore[assignment]
    """A registry with a copy of the release that lacks some files."""
    place = to / "releases" / release.id
    shutil.copytree(release.parts.folder.path, place)
    for name in without:
        (place / name).unlink(missing_ok=True)
    return ReleaseRegistry.of(Folder.of(str(to)))


@pytest.mark.parametrize("kind", NEEDED)
async def test_a_stage_needs_its_own_files_alone(kind: str, release: Release, config: Config, tmp_path: Path) -> None:
    others = release.manifest["files"].keys() - NEEDED[kind] - ALWAYS
    assert others, "each stage does without some"
    served = copied(release, tmp_path, others).open_served(release.id)
    stage, _, index = kind.partition(", index=")
    built = await BUILDS[stage](settings_of(config, index or "replica"), served)
    if isinstance(built, LocalStages):
        await built.close()


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("embedder", "users.parquet"),
        ("embedder", MODEL_FILE),
        ("embedder", SEQUENCES_FILE),
        ("retriever", "items.parquet"),
        ("retriever", VECTORS_FILE),
        ("reranker", RERANKER_FILE),
        ("reranker", VECTORS_FILE),
        ("retriever", GOLDEN_FILE),
    ],
)
async def test_a_stage_refuses_a_changed_file(
    stage: str, file: str, release: Release, config: Config, tmp_path: Path
) -> None:
    registry = copied(release, tmp_path)
    path = Path(registry.path(release.id).path, file)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NotSealed, match=rf"{file}: missing or changed"):
        await BUILDS[stage](settings_of(config), registry.open_served(release.id))


def mapped_files() -> set[str]:
    """The files of releases that this process has mapped into its memory."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.rsplit("/", 1)[1] for line in lines if "/releases/" in line}


async def test_what_is_large_is_mapped(release: Release, config: Config, tmp_path: Path) -> None:
    if sys.platform != "linux":
        skip("there is no /proc, which says what is mapped", "make test on Linux")
    served = copied(release, tmp_path).open_served(release.id)
    stages = await LocalStages.build(settings_of(config, "milvus"), served)
    assert {MODEL_FILE, SEQUENCES_FILE, VECTORS_FILE} <= mapped_files()
    await stages.close()


async def answered(runtime: ReleaseRuntime, config: Config, users: list[str]) -> list[tuple[list[int], list[float]]]:
    """Rows and scores of each user, and of a user of whom nothing but a history is known."""
    answers = []
    cheap = {"field": "price", "op": "<", "value": 50}
    for asked in [*({"user_id": user} for user in users), {"history": ["i00001", "i00002"], "filter": cheap}]:
        query, _ = runtime.adapter.query(RecommendRequest.model_validate({"k": 20, **asked}))
        limits = BudgetLimits(30.0, 30.0, new_breakers(config.serve))
        answer = await recommend(query, runtime.stages, runtime.adapter.fallback, limits)
        assert not answer.degraded
        answers.append((answer.rows, answer.scores))
    return answers


@pytest.mark.parametrize("index", INDEXES)
async def test_answers_are_those_of_a_release_that_is_read_as_a_whole(
    index: str, release: Release, config: Config, tmp_path: Path
) -> None:
    registry, settings = copied(release, tmp_path), settings_of(config, index)
    users = release.parts.users.ids.values[:20].to_pylist()
    whole = await open_runtime(settings, registry.open(release.id))
    served = await open_runtime(settings, registry.open_served(release.id))
    assert await answered(served, config, users) == await answered(whole, config, users)
    older = older_version(registry, release.id)
    before = await open_runtime(settings, registry.open_served(older))
    expected = await answered(whole, config, users)
    for found, (rows, scores) in zip(await answered(before, config, users), expected, strict=True):
        assert found[0] == rows
        np.testing.assert_allclose(found[1], scores, rtol=1e-5, atol=1e-6)
    for runtime in (whole, served, before):
        await runtime.close()


def older_version(registry: ReleaseRegistry, release_id: str) -> str:
    """A copy of a release as earlier versions published it: without a file of its item vectors."""
    name = f"{release_id}-before"
    shutil.copytree(registry.path(release_id).path, registry.path(name).path)
    folder = registry.path(name)
    manifest = folder.read_json(MANIFEST)
    del manifest["files"][VECTORS_FILE]
    folder.delete_file(VECTORS_FILE)
    folder.write_json(MANIFEST, manifest)
    return name


WATCHED = {
    module.__file__
    for module in (
        data.artifacts.folders,
        data.dataset.catalogue,
        towers.checkpoint.opening.parts,
        towers.checkpoint.tensor_files,
    )
}
"""Modules that read files, whose functions must not run on the event loop."""

GROWING = {
    serve.filters.masks.FilterColumns._mask.__code__,
    data.sources.values.string_index.StringIndex.__init__.__code__,
    towers.model.features.FeatureEncoder.encode.__code__,
    towers.model.features.FeatureEncoder.of_json.__func__.__code__,  # type: ignore[attr-defined]
}
"""What takes longer with each item or user."""

CHEAP = {"__truediv__", "__str__", "name", "is_local", "path"}


@contextmanager
def on_this_thread() -> Iterator[set[str]]:
    """Which of these functions run on this thread, that of the event loop, in the block."""
    seen: set[str] = set()

    def look(frame: FrameType, event: str, argument: object) -> None:
        code: CodeType = frame.f_code
        if event == "call" and code.co_name not in CHEAP and (code.co_filename in WATCHED or code in GROWING):
            seen.add(code.co_qualname)

    sys.setprofile(look)
    try:
        yield seen
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("stage", ["fused", "embedder", "retriever", "reranker"])
async def test_nothing_is_read_or_prepared_on_the_event_loop(
    stage: str, release: Release, config: Config, tmp_path: Path
) -> None:
    served = copied(release, tmp_path).open_served(release.id)
    user = release.parts.users.ids.values[0].as_py()
    with on_this_thread() as seen:
        built = await BUILDS[stage](settings_of(config), served)
        if isinstance(built, ReleaseRuntime):
            await answered(built, config, [user])
            await built.release_history(user)
    assert seen == set()
