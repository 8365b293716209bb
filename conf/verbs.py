"""The parts of the root config that each command uses, and the refusal of overrides that a command does not use."""

from collections.abc import Sequence

from data.artifacts.errors import ConfigError
from data.cluster.typed_commands import is_within, touches
from towers.training.config import PLACEMENT

EVERY_VERB = ("storage", "plugins")
"""Fields that every command uses: where artifacts lie, and the modules of your own that it imports."""

RECIPE = ("cluster", "data", "model", "loss", "train", "rerank", "evaluate", "tracking", "events.types", "seed")
"""What a training uses. Commands that train a checkpoint, or find one by its config, use all of it. The types of
events are what `data=events` learns from."""

RECIPE_GROUPS = ("experiment", "ablation", "recipe")
"""Config groups without a field of their own: they set values of the recipe, of the data above all."""

ACCEPTED_BY_ALL = ("tracking=off",)
"""Overrides that every command accepts, also one that tracks nothing."""

PLACEMENT_KEYS = (
    "cluster",
    "tracking",
    "evaluate.published",
    "evaluate.published_on",
    "evaluate.published_seen",
    "evaluate.published_split",
    *(f"train.{name}" for name in PLACEMENT),
)
"""Values that say where a command works, how fast, and what is shown beside its results."""

DEPLOYED = ("index", "gate", "serve", "auth", "guard", "events")
"""The config groups of an endpoint, and of the release gate."""

READY = "serve.ready_within_s"
"""The one value of the group `serve` that the commands of a rollout use."""

VERBS: dict[str, tuple[str, ...]] = {
    "data.prepare": ("cluster", "data", "events.types"),
    "data.embed_text": ("cluster", "data", "embed"),
    "towers.train": RECIPE,
    "towers.evaluate": (*RECIPE, "checkpoint"),
    "towers.compare": (*RECIPE, "checkpoint", "baseline"),
    "towers.leaderboard": ("sweep", "metric"),
    "serve.publish": (*RECIPE, "index", "gate", "checkpoint", "release", "force", "reason"),
    "serve.refresh": ("index", "gate", "evaluate", READY, "rows", "vectors", "items", "promote", "force", "reason"),
    "serve.promote": ("index", READY, "release", "percent"),
    "serve.rollback": ("reason",),
    "serve.split": ("index", READY, "traffic"),
    "serve.withdraw": (READY, "items", "restore", "force", "reason"),
    "serve.verify": ("index", "release"),
    "serve.prune": ("index", "keep", "laps"),
    "serve.releases": (),
    "serve.lineage": ("release", "find"),
    "serve.lift": ("traffic", "outcomes", "since"),
    "serve.guard": ("guard",),
    "serve.cycle": (*RECIPE, "index", "gate", "guard", "cycle", READY),
    "serve.ingest": ("ingest", "events"),
    "serve.run": ("cluster", "index", "serve", "auth", "guard", "events", "replace"),
    "serve.history": ("last",),
    "serve.approve": ("request", "require"),
    "serve.keys": ("auth", "mint", "revoke", "key"),
    "serve.manifests": (*RECIPE, *DEPLOYED, "cycle", "nodes", "manifests", "force", "reason"),
    "serve.capacity": ("capacity", "nodes", "index.exact_up_to"),
    "serve.watch": ("watch", "manifests.objectives"),
    "serve.page": ("page", "events", "serve.num_candidates"),
    "serve.recommend": ("cluster", "events", "recommend", "release", "serve.num_candidates"),
    "serve.demo": (*RECIPE, *DEPLOYED, "demo", "page"),
}
"""The fields of the root config that each command uses; a dotted name stands for one value of a group."""

BESIDE_CHECKPOINT = ("cluster", "evaluate", "checkpoint")
"""What each command uses that takes a checkpoint as it is."""

MEASURED = (*BESIDE_CHECKPOINT, "data", "events.types", "tracking")
"""Likewise, to measure it: the values of `data` may say once more which log it is of."""

BY_NAME: dict[tuple[str, str], tuple[str, ...]] = {
    ("towers.evaluate", "checkpoint"): MEASURED,
    ("towers.compare", "checkpoint"): (*MEASURED, "baseline"),
    ("serve.publish", "checkpoint"): (*BESIDE_CHECKPOINT, "index", "gate", "release", "force", "reason"),
    ("serve.publish", "release"): ("cluster", "index", "checkpoint", "release", "reason"),
}
"""What a command uses where one of its fields names what it works on, which no values of a recipe describe then."""

NAMING = ("release", "checkpoint")
"""These fields. An experiment may stand beside a checkpoint: it says how its log is measured, and what is published."""

NOTHING = ("null", "")
"""Values that leave such a field empty."""


def refuse_unused(verb: str, overrides: Sequence[str]) -> None:
    """Refuses overrides of values that a command does not use, so that none is ignored without notice.

    Raises:
        ConfigError: one of them is not used; the message names the commands that do use it, or what is named beside it.
    """
    if verb not in VERBS:
        return
    named = naming(verb, overrides)
    for override in overrides:
        key = override_key(override)
        if override in ACCEPTED_BY_ALL:
            continue
        if not uses(verb, key):
            others = [other for other in VERBS if uses(other, key)]
            takes = f"it is used by {', '.join(others)}" if others else "no command uses it"
            raise ConfigError(f"{key}: python -m {verb} does not use it ({override}); {takes}")
        if not uses(verb, key, named):
            raise ConfigError(
                f"{key}: {override} changes nothing of what {named}= names, which python -m {verb} takes as it is;"
                " leave out one of the two"
            )


def naming(verb: str, overrides: Sequence[str]) -> str | None:
    """The field by which overrides name what a command works on; None where they describe it by a recipe."""
    given = {override_key(each): each.partition("=")[2] for each in overrides if not each.startswith("~")}
    return next((name for name in NAMING if (verb, name) in BY_NAME and given.get(name, "null") not in NOTHING), None)


def uses(verb: str, key: str, named: str | None = None) -> bool:
    """Whether a command uses the value or group of this name.

    Args:
        named: the field by which it is told what it works on, see `naming`.
    """
    if key.partition(".")[0] in ("hydra", *EVERY_VERB):
        return True
    parts = VERBS[verb] if named is None else BY_NAME[verb, named]
    if key in RECIPE_GROUPS:
        return "data" in parts if named is None else key == "experiment" and "evaluate" in parts
    return touches(key, parts)


def decides(verb: str, key: str) -> bool:
    """Whether the value of this dotted key can change a command's result, and not only where or how fast it works.

    For a command that is not in VERBS every value counts as one that can.
    """
    if verb not in VERBS:
        return True
    return uses(verb, key) and not any(is_within(key, one) for one in PLACEMENT_KEYS)


def override_key(override: str) -> str:
    """Returns the config key of an override: `a.b` for `++a/b@c=x`."""
    name = override.lstrip("+~").partition("=")[0]
    return name.partition("@")[0].replace("/", ".")
