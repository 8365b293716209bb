"""Which parts of the root config each command uses, and what it says of an override that it does not use."""

from collections.abc import Sequence

from data.artifacts.errors import ConfigError

EVERY_VERB = ("seed", "storage")
"""Fields that every command takes: where artifacts lie, and the seed, which a sweep varies."""

RECIPE = ("cluster", "data", "model", "loss", "train", "rerank", "evaluate", "tracking")
"""What decides a checkpoint: commands that train one, or look one up by what decides it, use all of it."""

RECIPE_GROUPS = ("experiment", "ablation")
"""Config groups without a field of their own: they set values of the recipe."""

READY = "serve.ready_within_s"

VERBS: dict[str, tuple[str, ...]] = {
    "data.prepare": ("cluster", "data"),
    "towers.train": RECIPE,
    "towers.evaluate": (*RECIPE, "checkpoint"),
    "towers.compare": (*RECIPE, "checkpoint", "baseline"),
    "towers.leaderboard": ("sweep", "metric"),
    "serve.publish": (*RECIPE, "index", "gate", "checkpoint", "force", "reason"),
    "serve.refresh": ("index", "gate", "evaluate", READY, "rows", "items", "promote", "force", "reason"),
    "serve.promote": ("index", READY, "release", "percent"),
    "serve.rollback": ("reason",),
    "serve.split": ("index", READY, "traffic"),
    "serve.withdraw": (READY, "items", "restore", "reason"),
    "serve.verify": ("index", "release"),
    "serve.prune": ("index", "keep"),
    "serve.releases": (),
    "serve.lineage": ("release", "find"),
    "serve.lift": ("traffic", "outcomes"),
    "serve.guard": ("guard",),
    "serve.run": ("cluster", "index", "serve", "guard"),
    "serve.recommend": ("cluster", "recommend", "release", "serve.num_candidates"),
    "serve.demo": (*RECIPE, "index", "gate", "serve", "guard", "demo"),
}
"""Fields of the root config by command; `serve.ready_within_s` is that one value of the group `serve`."""


def refuse_unused(verb: str, overrides: Sequence[str]) -> None:
    """Refuses overrides of values that a command does not look at, rather than ignore them.

    Args:
        verb: such as `serve.prune`; one that is not in VERBS takes everything.
        overrides: as on the command line, `percent=5`, `+train.labels.role=trainer`, `data=gowalla`.

    Raises:
        ConfigError: one of them is not used; the message names the commands that do use it.
    """
    if verb not in VERBS:
        return
    for override in overrides:
        key = override_key(override)
        if not uses(verb, key):
            others = [other for other in VERBS if uses(other, key)]
            takes = f"it is for {', '.join(others)}" if others else "no command does"
            raise ConfigError(f"{key}: python -m {verb} does not use it ({override}); {takes}")


def uses(verb: str, key: str) -> bool:
    """Whether a command looks at the value or group of this name."""
    if key.partition(".")[0] in ("hydra", *EVERY_VERB):
        return True
    if key in RECIPE_GROUPS:
        return "train" in VERBS[verb]
    return any(_within(key, used) or _within(used, key) for used in VERBS[verb])


def override_key(override: str) -> str:
    """The config key of an override: `++a/b@c=x` is about `a.b`."""
    name = override.lstrip("+~").partition("=")[0]
    return name.partition("@")[0].replace("/", ".")


def _within(key: str, part: str) -> bool:
    return key == part or key.startswith(f"{part}.")
