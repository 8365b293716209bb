"""Which values the running command was given, by its command line or, in a sweep, by the point of a trial."""

from hydra.core.hydra_config import HydraConfig

from conf.verbs import is_within, override_key


def is_typed(*parts: str) -> bool:
    """Whether the running command was given one of these values, a group that has it, or a value within it.

    What a yaml file says that an override chooses does not count. Nothing was given where no command runs.

    Args:
        parts: dotted keys, such as `data` or `evaluate.k`.
    """
    if not HydraConfig.initialized():
        return False
    keys = [override_key(each) for each in HydraConfig.get().overrides.task]
    return any(is_within(key, part) or is_within(part, key) for key in keys for part in parts)
