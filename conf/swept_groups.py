"""Refuses to sweep over yaml files that bring a launcher, a sweeper or a grid: Hydra would ignore these, silently.

It also refuses a single run of what a yaml file says is a sweep: without -m, its grid or search would have no effect.

Hydra reads its own settings once, before it makes jobs of a sweep. What a yaml file says about them counts where it is
chosen for the whole command (`-m experiment=grid`), and not where it is one of several values (`-m experiment=a,b`).
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.conf import HydraConf
from hydra.core.default_element import ConfigDefault, GroupDefault, InputDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from conf.verbs import RECIPE_GROUPS, VERBS, naming, override_key, uses
from data.artifacts.errors import ConfigError
from data.artifacts.secrets import masked_override
from data.cluster.typed_commands import command

SETTINGS = ("launcher", "sweeper")
"""Settings of Hydra's that are read once for all jobs of a sweep."""


MULTIRUN = ("hydra.mode=MULTIRUN", "+hydra.mode=MULTIRUN", "++hydra.mode=MULTIRUN")
"""Overrides that make a sweep, as the option -m does."""


def refuse_swept_settings(arguments: Sequence[str], folder: str, config_name: str) -> None:
    """Refuses a sweep over yaml files that set the launcher or the sweeper.

    Args:
        arguments: the command's arguments, as typed.
        folder: the folder of the yaml files; those in `--config-dir` are found too.
        config_name: the root config.

    Raises:
        ConfigError: a swept yaml file brings a launcher, a sweeper or a grid; the message says how to start it.
    """
    typed_in, _ = get_args_parser().parse_known_args(list(arguments))
    is_sweep = typed_in.multirun or any(each.strip() in MULTIRUN for each in typed_in.overrides)
    if not is_sweep or typed_in.config_path:
        return
    Plugins.instance()  # finds the launchers and sweepers that yaml files may name
    places = create_config_search_path(folder)
    if typed_in.config_dir:
        places.prepend("command-line", f"file://{os.path.realpath(typed_in.config_dir)}", "schema")
    loader = ConfigLoaderImpl(places)
    try:
        _check(
            loader,
            OverridesParser.create(config_loader=loader),
            typed_in.config_name or config_name,
            typed_in.overrides,
        )
    except ConfigError:
        raise
    except Exception:
        return  # a mistake about something else, which Hydra is about to meet in the same way, and reports


def _check(loader: ConfigLoaderImpl, parser: OverridesParser, config_name: str, typed_in: list[str]) -> None:
    overrides = parser.parse_overrides(typed_in)
    fixed = [override.input_line or "" for override in overrides if not override.is_sweep_override()]
    swept = [override for override in overrides if override.is_sweep_override()]

    def composed(*more: str) -> DictConfig:
        return loader.load_configuration(config_name, [*fixed, *more], RunMode.MULTIRUN)

    whole: DictConfig | None = None
    for key, value in _options(loader, swept):
        whole = whole or composed()
        _compare(key, value, whole, composed(f"{key}={value}"))
    params = OmegaConf.select(whole or composed(), "hydra.sweeper.params") or {}
    lines = [f"{name}={values}" for name, values in params.items()]
    of_yaml = [override for override in parser.parse_overrides(lines) if override.is_sweep_override()]
    for key, value in _options(loader, of_yaml):
        whole = whole or composed()
        _compare(key, value, whole, composed(f"{key}={value}"))


def _options(loader: ConfigLoaderImpl, swept: Sequence[Override]) -> Iterator[tuple[str, str]]:
    """Override key and value of each swept yaml file, of the groups in which some file names settings of Hydra's."""
    for override in swept:
        group = override.key_or_group
        if any(_may_set_hydra(loader, f"{group}/{option}", set()) for option in loader.get_group_options(group)):
            for value in override.sweep_string_iterator():
                yield override.get_key_element(), value


def _may_set_hydra(loader: ConfigLoaderImpl, path: str, looked_at: set[str]) -> bool:
    """Whether a yaml file, or one that its defaults bring, names settings of Hydra's.

    Args:
        path: of the file within the config, without its ending.
        looked_at: paths of files that need not be looked at again; this one is added.
    """
    if path in looked_at or (loaded := loader.repository.load_config(path)) is None:
        return False
    looked_at.add(path)
    is_set = isinstance(loaded.config, DictConfig) and "hydra" in loaded.config
    if is_set or "hydra" in str(loaded.header.get("package")):
        return True
    for default in loaded.defaults_list or []:
        text = str(default)
        if "hydra" in text or "${" in text:  # what a value names is not known before all is composed
            return True
        if any(_may_set_hydra(loader, inner, looked_at) for inner in _paths(default, path.rpartition("/")[0])):
            return True
    return False


def _paths(default: InputDefault, folder: str) -> list[str]:
    """The paths of the files that an entry of a defaults list brings.

    Args:
        folder: that of the file which has the list; names without a leading slash are relative to it.
    """
    match default:
        case GroupDefault(group=str(group), value=str(value)):
            names = [f"{group}/{value}"]
        case GroupDefault(group=str(group), value=list(values)):
            names = [f"{group}/{value}" for value in values]
        case ConfigDefault(path=str(name)) if not default.is_self():
            names = [name]
        case _:
            names = []
    return [name.removeprefix("/") if name.startswith("/") else f"{folder}/{name}" for name in names]


def _compare(key: str, value: str, whole: DictConfig, with_value: DictConfig) -> None:
    brought = [name for name in SETTINGS if _plain(whole, name) != _plain(with_value, name)]
    if brought:
        names = " and ".join(f"hydra.{name}" for name in brought)
        raise ConfigError(
            f"{key}: {value} brings settings of {names}, such as a launcher or a grid, which have no effect where"
            f" {key} is swept over; start one sweep for each of its values, such as -m {key}={value}"
        )


def _plain(config: DictConfig, setting: str) -> Any:
    return OmegaConf.to_container(config.hydra[setting], resolve=False)


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
