"""Items added, changed and taken out without training: the vectors they get, what stays, and what an endpoint says."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from conf.schema import Config
from conf.schema import load as load_config
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from serve.client import RecommendClient
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig
from serve.index.collection import count, drop, write_collection
from serve.index.connection import connected
from serve.pipeline.messages import Candidates, Query, UserVector
from serve.pipeline.reranker import RerankStage
from serve.pipeline.source import Source
from serve.publish import task as publish_task
from serve.releases.building.restore import restore_collection
from serve.releases.gate.gate import Gatekeeper
from serve.releases.lineage import lineage_of
from serve.releases.model_card import CARD_FILE
from serve.releases.prune import prune
from serve.releases.refresh import refresh
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from serve.releases.verify import verify
from serve.rollout.promotion import promote
from serve.rollout.two_phase import roll_back
from tests.serve.releases.items import NEW, rows
from tests.serve.waiting import PATIENT
from towers.model.features import FeatureEncoder

pytestmark = pytest.mark.slow

WITHIN_S = 60


def silent(_: object) -> None:
    pass


def described(live: Release, item_id: str, **changed: object) -> dict[str, object]:
    """An item as it is, but for what changed."""
    table, row = live.parts.items.table, live.parts.items.ids.row(item_id)
    (found,) = table.slice(row - 1, 1).to_pylist()
    return {
        name: value for name, value in found.items() if name not in ("row", "train_count", "validation_count")
    } | changed


def refreshed(
    tiny: Config, registry: ReleaseRegistry, live: Release, *items: dict[str, object], removed: tuple[str, ...] = ()
) -> Release:
    table = rows(live, *items) if items else None
    return registry.open(refresh(tiny.index, registry, live, table, removed, silent))


def test_what_stays_is_the_same_and_what_is_new_is_placed_by_its_features(
    tiny: Config, registry: ReleaseRegistry, live: Release
) -> None:
    after = refreshed(tiny, registry, live, NEW, described(live, "i00003", genres=["Horror"], studio=None))
    old, new = live.parts, after.parts
    assert after.manifest["dataset"] == live.manifest["dataset"], "its histories are of the same log"
    size, changed = len(old.items.ids), old.items.ids.row("i00003")
    assert (len(new.items.ids), new.items.ids.row("new1")) == (size + 1, size)
    same = np.setdiff1d(np.arange(size), [changed])
    assert torch.allclose(new.item_vectors_ID[same], old.item_vectors_ID[same], atol=1e-6)
    assert not torch.allclose(new.item_vectors_ID[changed], old.item_vectors_ID[changed], atol=1e-3)
    vector_D = live.parts.model.cold_length * described_vector(live, NEW)
    assert torch.allclose(new.item_vectors_ID[size], vector_D, atol=1e-6)
    assert after.manifest["refreshed"] == {"from": live.id, "added": 1, "changed": 1, "withdrawn": 0, "back": 0}
    assert lineage_of(after.manifest)["refreshed from"] == live.id
    assert "1 of its items came after training" in after.parts.folder.read_bytes(CARD_FILE).decode()
    with connected(tiny.index) as client:
        assert count(client, tiny.index, after.collection) == size
    assert verify(tiny.index, registry, after.id, silent)["release"] == after.id


def described_vector(live: Release, item: dict[str, object]) -> torch.Tensor:
    encoder = FeatureEncoder.of_json(live.parts.items, live.manifest["item_scales"])
    with torch.inference_mode():
        return live.parts.model.new_item_vectors(encoder.encode(rows(live, item)))[0]


def test_the_reranker_scores_what_stays_as_before(tiny: Config, registry: ReleaseRegistry, live: Release) -> None:
    after = refreshed(tiny, registry, live, *({**NEW, "item_id": f"new{number}"} for number in range(30)))
    user_D, rows_C = live.parts.item_vectors_ID[5].numpy(), np.arange(1, 40)

    def scores(release: Release) -> dict[int, float]:
        query = Query(release_id=release.id, user_id=None, k=1, num_candidates=len(rows_C))
        given = Candidates(release.id, rows_C, np.linspace(1, 0, len(rows_C), dtype=np.float32), Source.towers)
        user = UserVector(release.id, user_D, np.array([7, 8, 9]))
        (ranked,) = RerankStage(release.id, release.parts).rank_all([(query, user, given)])
        return dict(zip(ranked.rows_K.tolist(), ranked.scores_K.tolist(), strict=True))

    assert scores(after) == pytest.approx(scores(live), abs=1e-6)


def test_a_refreshed_release_shares_files_and_outlives_the_one_it_comes_from(
    tiny: Config, registry: ReleaseRegistry, live: Release
) -> None:
    first = refreshed(tiny, registry, live, NEW)
    path = Path(first.parts.folder.path)
    for name in ("model.safetensors", "reranker.safetensors", "users.parquet", "sequences.safetensors"):
        assert (path / name).samefile(Path(live.parts.folder.path) / name)
    registry.promote(first.id)
    second = refreshed(tiny, registry, first, {**NEW, "item_id": "new2"}, {**NEW, "title": "Fresher"})
    assert second.parts.items.ids.row("new1") == first.parts.items.ids.row("new1")
    assert second.manifest["num_fitted_items"] == live.parts.items.table.num_rows
    assert second.manifest["refreshed"]["changed"] == 1
    registry.promote(second.id)
    registry.path(live.id).delete()
    prune(tiny.index, registry, 1, silent)
    assert registry.open(second.id).parts.items.ids.row("new2")


def test_run_again_it_finds_the_release_and_nothing_new_is_none(
    tiny: Config, registry: ReleaseRegistry, live: Release
) -> None:
    said: list[str] = []
    first = refresh(tiny.index, registry, live, rows(live, NEW), (), silent)
    assert refresh(tiny.index, registry, live, rows(live, NEW), (), said.append) == first
    assert said[-1] == f"refresh: release {first} is already published"
    as_it_is = rows(live, described(live, "i00005"), described(live, "i00006", title=None))
    assert refresh(tiny.index, registry, live, as_it_is, (), said.append) == live.id
    assert said[-1] == f"refresh: nothing would change in {live.id}"


def test_a_refreshed_release_whose_collection_is_lost_comes_back_of_its_own_files(
    tiny: Config, registry: ReleaseRegistry, live: Release
) -> None:
    before = refreshed(tiny, registry, live, NEW)
    registry.promote(before.id)
    registry.path(live.id).delete()
    drop(tiny.index, before.collection)
    with pytest.raises(ReleaseError, match=f"python -m serve.publish release={before.id} makes it again"):
        verify(tiny.index, registry, before.id, silent)
    run = load_config([f"storage.root={Path(registry.folder.path).parent}", f"index.uri={tiny.index.uri}"])
    publish_task(replace(run, release=before.id))
    after = registry.open(before.id)
    assert verify(tiny.index, registry, before.id, silent)["release"] == before.id
    assert after.collection != before.collection
    assert after.manifest["files"].keys() == before.manifest["files"].keys()
    for entry in ("created_at", "gate", "refreshed", "withdrawn", "num_fitted_items", "memory_mib"):
        assert after.manifest[entry] == before.manifest[entry], entry
    said: list[str] = []
    restore_collection(tiny.index, registry, before.id, said.append)
    assert said == [f"publish: release {before.id} is already published"]
    vectors = pa.array(after.parts.item_vectors_ID[1:].flip(0).reshape(-1).numpy())
    wrong = after.parts.items.table.append_column("vector", pa.FixedSizeListArray.from_arrays(vectors, after.parts.dim))
    write_collection(tiny.index, after.collection, [wrong], after.parts.items.features, after.parts.dim)
    restore_collection(tiny.index, registry, before.id, said.append)
    assert verify(tiny.index, registry, before.id, silent)["release"] == before.id, "not those of other items"
    with pytest.raises(ConfigError, match=f"release: {before.id}, and checkpoint: x; give one of them"):
        publish_task(replace(run, release=before.id, checkpoint="x"))


def test_of_two_at_a_time_the_second_does_not_undo_the_first(
    tiny: Config, registry: ReleaseRegistry, live: Release
) -> None:
    one = refresh(tiny.index, registry, live, rows(live, NEW), (), silent)
    other = refresh(tiny.index, registry, live, rows(live, {**NEW, "item_id": "new2"}), (), silent)
    promote(tiny.index, registry, one, WITHIN_S, silent, expected_live=live.id)
    with pytest.raises(ReleaseError, match="is not what is live alone"):
        promote(tiny.index, registry, other, WITHIN_S, silent, expected_live=live.id)
    pointer = registry.live()
    assert pointer is not None
    assert (pointer.release, pointer.staged) == (one, [])


def test_taken_out_and_back(tiny: Config, registry: ReleaseRegistry, live: Release) -> None:
    without = refreshed(tiny, registry, live, removed=("i00007", "i00008"))
    assert without.removed_items == {"i00007", "i00008"}
    again = refreshed(tiny, registry, without, described(live, "i00007"))
    assert again.removed_items == {"i00008"}
    assert again.manifest["refreshed"] == {"from": without.id, "added": 0, "changed": 0, "withdrawn": 0, "back": 1}
    with pytest.raises(ReleaseError, match="nowhere is not in the catalogue"):
        refresh(tiny.index, registry, live, None, ("nowhere",), silent)


def test_the_gate_looks_at_it(tiny: Config, registry: ReleaseRegistry, live: Release) -> None:
    gatekeeper = Gatekeeper(config=tiny.gate, evaluate=tiny.evaluate, show=silent)
    id_ = refresh(tiny.index, registry, live, rows(live, NEW), (), silent, gatekeeper)
    gate = registry.manifest(id_)["gate"]
    assert (gate["against"], gate["failed"]) == (live.id, [])


@pytest.fixture(scope="module")
def served(
    tiny: Config, release: Release, free_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ReleaseRegistry, RecommendClient]]:
    """An endpoint on a registry of its own."""
    root = tmp_path_factory.mktemp("refreshed")
    shutil.copytree(release.parts.folder.path, root / "releases" / release.id)
    registry = ReleaseRegistry.of(Folder.of(str(root)))
    registry.promote(release.id)
    serve = replace(tiny.serve, port=free_port, **PATIENT, ingress=ScaleConfig(num_cpus=0.1))
    with (
        running_endpoint(replace(tiny, serve=serve, storage=replace(tiny.storage, root=str(root)))) as address,
        RecommendClient(address, timeout_s=30) as client,
    ):
        yield registry, client


def test_an_endpoint_answers_with_new_items_and_not_with_those_taken_out(
    tiny: Config, served: tuple[ReleaseRegistry, RecommendClient], known_user: str
) -> None:
    registry, client = served
    pointer = registry.live()
    assert pointer is not None
    live = registry.open(pointer.release)
    only_new = {"field": "studio", "op": "==", "value": "Nobody Before"}
    assert client.recommend(user_id=known_user, k=5, filter=only_new).items == []
    best = client.recommend(user_id=known_user, k=1).items[0].id
    id_ = refresh(tiny.index, registry, live, rows(live, NEW), (best,), silent)
    promote(tiny.index, registry, id_, WITHIN_S, silent, expected_live=live.id)
    answer = client.recommend(user_id=known_user, k=5, filter=only_new)
    assert (answer.release_id, [item.id for item in answer.items]) == (id_, ["new1"])
    assert answer.items[0].title == "Fresh"
    everything = client.recommend(user_id=known_user, k=100).items
    assert best not in [item.id for item in everything]
    by_it = client.recommend(history=["new1"], k=5)
    assert (by_it.unknown_items, len(by_it.items)) == ([], 5)
    assert client.similar("new1", k=3).items
    roll_back(registry, 5)
    assert client.recommend(user_id=known_user, k=5, filter=only_new).items == []
    assert client.recommend(user_id=known_user, k=1).items[0].id == best
