"""An override that a command does not use is refused, and the message says which commands do use it."""

import pytest

from conf.verbs import VERBS, override_key, refuse_unused, uses
from data.artifacts.errors import ConfigError


@pytest.mark.parametrize(
    ("verb", "override", "used_by"),
    [
        ("serve.prune", "percent=5", "serve.promote"),
        ("serve.promote", "keep=2", "serve.prune"),
        ("serve.promote", "model.embedding_dim=3", "towers.train"),
        ("serve.promote", "serve.port=9000", "serve.run"),
        ("data.prepare", "+train.labels.role=trainer", "towers.train"),
        ("serve.run", "experiment=gowalla", "towers.train"),
        ("serve.releases", "release=a", "serve.promote"),
        ("data.prepare", "tracking=online", "towers.train"),
        ("serve.prune", "seed=5", "towers.train"),
        ("data.prepare", "seed=5", "towers.train"),
    ],
)
def test_an_override_without_effect_is_refused(verb: str, override: str, used_by: str) -> None:
    with pytest.raises(ConfigError, match=rf"python -m {verb} does not use it .*{used_by}") as caught:
        refuse_unused(verb, [override])
    assert str(caught.value).startswith(override_key(override))


@pytest.mark.parametrize(
    ("verb", "override"),
    [
        ("serve.prune", "keep=5"),
        ("serve.prune", "storage.root=s3://bucket/x"),
        ("towers.train", "seed=1"),
        ("serve.publish", "seed=1"),
        ("serve.prune", "plugins=[mine]"),
        ("serve.promote", "serve.ready_within_s=5"),
        ("serve.promote", "serve=staged"),
        ("serve.split", "+traffic.shares.shop-0123456789=0.2"),
        ("towers.train", "experiment=gowalla"),
        ("towers.train", "data/source=table"),
        ("data.prepare", "experiment=gowalla"),
        ("data.prepare", "tracking=off"),
        ("towers.train", "~evaluate.published"),
        ("serve.publish", "hydra.run.dir=x"),
        ("somebody.else", "anything=1"),
    ],
)
def test_what_a_command_uses_is_taken(verb: str, override: str) -> None:
    refuse_unused(verb, [override])


def test_a_group_is_used_where_one_of_its_values_is() -> None:
    assert uses("serve.recommend", "serve.num_candidates")
    assert uses("serve.recommend", "serve")
    assert not uses("serve.recommend", "serve.num_candidatesx")


def test_each_command_takes_the_storage() -> None:
    assert all(uses(verb, "storage.root") for verb in VERBS)


@pytest.mark.parametrize(
    ("verb", "overrides", "refused"),
    [
        ("serve.publish", ["checkpoint=A", "train.fit_on=all"], "train.fit_on"),
        ("serve.publish", ["data=gowalla", "checkpoint=A"], "data"),
        ("serve.publish", ["checkpoint=A", "recipe=transformer"], "recipe"),
        ("serve.publish", ["release=a", "train.fit_on=all"], "train.fit_on"),
        ("serve.publish", ["release=a", "force=true"], "force"),
        ("serve.publish", ["release=a", "experiment=gowalla"], "experiment"),
        ("towers.evaluate", ["checkpoint=A", "rerank=linear"], "rerank"),
        ("towers.evaluate", ["checkpoint=A", "model.embedding_dim=32"], "model.embedding_dim"),
        ("towers.compare", ["checkpoint=A", "baseline=B", "seed=1"], "seed"),
    ],
)
def test_values_of_a_recipe_beside_what_is_taken_as_it_is_are_refused(
    verb: str, overrides: list[str], refused: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{refused}: .* changes nothing of what \w+= names, .* one of the two$"):
        refuse_unused(verb, overrides)
    refuse_unused(verb, [each for each in overrides if not each.startswith(("checkpoint=", "release=", "force="))])


@pytest.mark.parametrize(
    ("verb", "overrides"),
    [
        ("serve.publish", ["checkpoint=A", "storage.root=x", "index=milvus", "gate.max_loss=1", "evaluate.k=10"]),
        ("serve.publish", ["checkpoint=A", "force=true", "reason=known", "tracking=off", "experiment=gowalla"]),
        ("serve.publish", ["checkpoint=null", "train.fit_on=all"]),
        ("serve.publish", ["release=a", "index.uri=x", "reason=known"]),
        ("towers.evaluate", ["checkpoint=A", "data=gowalla", "evaluate.k=10", "experiment=gowalla", "hydra.run.dir=x"]),
        ("towers.evaluate", ["checkpoint=A", "data=events", "data/source@data.source.base=table", "events.types.b={}"]),
        ("towers.compare", ["checkpoint=A", "baseline=B", "evaluate.seen=keep", "cluster.dashboard=false"]),
        ("towers.compare", ["baseline=B", "model=transformer"]),
    ],
)
def test_what_is_used_beside_what_is_taken_as_it_is_is_taken(verb: str, overrides: list[str]) -> None:
    refuse_unused(verb, overrides)
