"""The command to give next, as commands print it: with what the running one was told of where things lie."""

from hydra.core.hydra_config import HydraConfig

from conf.verbs import override_key, uses
from data.artifacts.secrets import masked_override
from data.cluster.typed_commands import command

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
