"""The plugins that a command line names, which are imported before Hydra composes the config.

A source of a plugin is a choice of the group `data/source`, so Hydra must know it while it composes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from conf.verbs import override_key
from data.artifacts.errors import ConfigError
from data.sources.source import SOURCES

KEY = "plugins"

REGISTERED = {
    "data/source": SOURCES,
    "hydra/launcher": ("ray",),
    "hydra/sweeper": ("optuna",),
    ".": ("schema",),
}
"""By group: the choices that are ours without a yaml file."""

NO_LIST = "is no list of modules, such as plugins=[my_package]"


def chosen_plugins(overrides: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """The plugins of the overrides, and of the yaml files that they choose.

    Args:
        overrides: as typed, such as `plugins=[shop]` or `experiment=shop`.
        folders: folders of yaml files.
    """
    found: list[str] = []
    for override in overrides:
        key, _, value = override_key(override), *override.partition("=")[1:]
        if key == KEY:
            return _list(override)
        found += _of_files(key, value, folders)
    return list(dict.fromkeys(found))


def config_folders(arguments: Sequence[str]) -> list[Path]:
    """The folder that `--config-dir` names, if there is one; raises ConfigError if it is no folder."""
    typed_in, _ = get_args_parser().parse_known_args(list(arguments))
    if typed_in.config_dir and not Path(typed_in.config_dir).is_dir():
        raise ConfigError(f"--config-dir: there is no folder {typed_in.config_dir}; name one with yaml of your own")
    return [Path(typed_in.config_dir)] if typed_in.config_dir else []


def refuse_shadows(folders: Sequence[Path], ours: Path) -> None:
    """Refuses a folder with a yaml file that has the name of one of ours, because one of them would hide the other.

    Raises:
        ConfigError: there is such a file; the message names it.
    """
    for folder in folders:
        for path in sorted(folder.rglob("*.yaml")):
            name = path.relative_to(folder)
            group = name.parent.as_posix()
            if (ours / name).exists() or name.stem in REGISTERED.get(group, ()):
                choice = name.stem if group == "." else f"{group}={name.stem}"
                raise ConfigError(
                    f"--config-dir: {path} has the name of a file of the recommender ({choice}), and one would hide the"
                    " other; rename yours"
                )


def _of_files(group: str, options: str, folders: Sequence[Path]) -> Iterator[str]:
    for folder in folders:
        for option in options.strip(" []").split(","):  # a sweep over files, or a list of several at once
            path = folder / group.replace(".", "/") / f"{option.strip()}.yaml"
            if path.is_file():
                try:
                    values: Any = yaml.safe_load(path.read_text())
                except (yaml.YAMLError, UnicodeDecodeError):
                    return  # Hydra meets the same, and reports it
                named = (values.get(KEY) if isinstance(values, dict) else None) or []
                if not isinstance(named, list):
                    raise ConfigError(f"plugins: {named} {NO_LIST} (in {path})")
                yield from map(str, named)


def _list(override: str) -> list[str]:
    try:
        value = OverridesParser.create().parse_override(override).value()
    except OverrideParseException:
        return []  # Hydra reports it
    if not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        raise ConfigError(f"plugins: {override.partition('=')[2]} {NO_LIST}")
    return value
