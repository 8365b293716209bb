"""Refuses a single run of what a yaml file says is a sweep: without -m, its grid or search has no effect, silently."""

from hydra.conf import HydraConf
from hydra.types import RunMode
from omegaconf import OmegaConf

from conf.verbs import RECIPE_GROUPS, VERBS, naming, override_key, uses
from data.artifacts.errors import ConfigError
from data.artifacts.secrets import masked_override
from data.cluster.typed_commands import command


def refuse_forgotten_sweep(verb: str, hydra: HydraConf) -> None:
    """Refuses a run that gives no value to a parameter that its experiment sweeps over, `hydra.sweeper.params`.

    Parameters that the command does not use do not count: neither in the preparation of a log, nor beside the name of a
    checkpoint, are those of a model of any meaning.

    Args:
        verb: the command.
        hydra: the config of Hydra itself.

    Raises:
        ConfigError: there are such parameters; the message names them and -m.
    """
    if hydra.mode is RunMode.MULTIRUN:
        return
    overrides = list(hydra.overrides.task)
    given, named = set(map(override_key, overrides)), naming(verb, overrides)
    params = OmegaConf.select(hydra, "sweeper.params") or {}  # type: ignore[arg-type]
    left_out = [
        str(name) for name in params if (key := override_key(str(name))) not in given and _uses(verb, key, named)
    ]
    if left_out:
        again = command("python", "-m", verb, "-m", *map(masked_override, overrides))
        raise ConfigError(
            f"hydra.sweeper.params: this is a sweep over {', '.join(left_out)}, and without -m it would be a single run"
            f" with one value of each; start it with -m ({again}), or give each a value"
        )


def _uses(verb: str, key: str, named: str | None) -> bool:
    """Whether a parameter matters to a command; the groups of yaml files that set a model do where it trains one."""
    if verb not in VERBS:
        return True
    if key in RECIPE_GROUPS and not uses(verb, "model", named):
        return False
    return uses(verb, key, named)
