"""The command to give next, as commands print it: with what the running one was told of where things lie.

Also the running command itself: what it was given, and with other overrides than its own.
"""

from collections.abc import Sequence
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.verbs import override_key, uses
from data.artifacts.errors import ConfigError, one_line
from data.artifacts.secrets import masked_override
from data.cluster.typed_commands import command, touches

CARRIED = ("storage", "plugins", "index", "auth")
"""Config groups whose overrides hold for the next command too, if it uses them: where artifacts, items and keys are."""

ROOT_CONFIG = "config"


def next_command(verb: str, *overrides: str) -> str:
    """A command that works where the running one does, as a line for a shell; secrets in it are masked.

    Args:
        verb: such as `serve.promote`.
        overrides: what it is given beside, such as `release=ID`.
    """
    return command("python", "-m", verb, *config_options(), *overrides, *_carried(verb, overrides))


def same_command(verb: str, overrides: Sequence[str]) -> str:
    """The running command with further overrides, as a line for a shell; secrets in its own are masked.

    Args:
        verb: that of the running command.
        overrides: what it is given beside its own.
    """
    return command("python", "-m", verb, *config_options(), *map(masked_override, typed_overrides()), *overrides)


def typed_overrides() -> list[str]:
    """The overrides of the running command; none where no command runs."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def is_typed(*parts: str) -> bool:
    """Whether the running command was given one of these values, a group that has it, or a value within it.

    What a yaml file says that an override chooses does not count. Nothing was given where no command runs.

    Args:
        parts: dotted keys, such as `data` or `evaluate.k`.
    """
    return any(touches(override_key(each), parts) for each in typed_overrides())


def is_typed_itself(key: str) -> bool:
    """Whether the running command was given just this value: a group that has it does not count.

    Args:
        key: a dotted key, such as `index.algorithm`.
    """
    return key in map(override_key, typed_overrides())


def values_with(overrides: Sequence[str], sections: Sequence[str]) -> dict[str, Any]:
    """The values that the running command would have with these overrides in the place of its own.

    Args:
        overrides: as `typed_overrides` has them, and others like them.
        sections: the sections of the root config that are wanted.

    Raises:
        ConfigError: one of the overrides is not taken, such as a choice that its group does not have.
    """
    from conf.schema import composed  # imports all that is configured

    try:
        if HydraConfig.initialized():
            found = compose(HydraConfig.get().job.config_name, list(overrides))
        else:
            found = composed(overrides)
        return {name: OmegaConf.to_container(found[name], resolve=True, enum_to_str=True) for name in sections}
    except (HydraException, OmegaConfBaseException) as e:
        raise ConfigError(one_line(e)) from e


def config_options() -> list[str]:
    """The arguments that say where the running command's config lies; none where no command runs."""
    if not HydraConfig.initialized():
        return []
    hydra = HydraConfig.get()
    folders = [each.path for each in hydra.runtime.config_sources if each.provider == "command-line"]
    found = [argument for folder in folders for argument in ("--config-dir", folder)]
    if hydra.job.config_name not in (None, ROOT_CONFIG):
        found += ["--config-name", hydra.job.config_name]
    return found


def _carried(verb: str, given: tuple[str, ...]) -> list[str]:
    if not HydraConfig.initialized():
        return []
    keys = set(map(override_key, given))
    typed_in = [(each, override_key(each)) for each in HydraConfig.get().overrides.task]
    return [
        masked_override(each)
        for each, key in typed_in
        if key.partition(".")[0] in CARRIED and uses(verb, key) and key not in keys
    ]
