"""Plugins: modules of a team's own that register losses, encoders, sources or index back ends when they are imported.

The config names them (`plugins: [my_package]`). The command that reads the config imports them, and leaves their names
in an environment variable, so that every process that it starts on this machine, and every worker of a cluster, which
gets that variable with its runtime environment, imports them before it looks for a registered name.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType

from data.artifacts.errors import ConfigError, UserError, one_line

VARIABLE = "TWOTOWER_PLUGINS"
"""Environment variable with the names of the plugins in use, separated by commas."""

OWN = ("data", "towers", "serve", "conf", "twotower", "hydra_plugins")
"""Packages of this distribution, which are not plugins."""


class PluginUnavailable(UserError, ImportError):
    """A plugin that something was made with is not installed, or is of another version."""


def use(names: Sequence[str]) -> None:
    """Imports plugins, and has the processes that are started from now on import them too.

    Args:
        names: modules that can be imported: installed, on PYTHONPATH, or in the folder where one stands.

    Raises:
        ConfigError: a name is given twice, is no name of a module or a package of ours, or its import fails; or what it
            registers has a name that is taken.
    """
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ConfigError(f"plugins: {twice[0]} is named twice; name it once")
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(
                f"plugins: {name!r} is no name of a module; give one that Python can import, such as shop"
            )
        if name.partition(".")[0] in OWN:
            raise ConfigError(f"plugins: {name} is a package of the recommender itself; name one of your own")
        _import(name)
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*in_use(), *names]))


def in_use() -> tuple[str, ...]:
    """The names of the plugins that this process uses."""
    return tuple(name for name in os.environ.get(VARIABLE, "").split(",") if name)


def import_in_use() -> None:
    """Imports the plugins in use, in a process that was started by one which uses them."""
    for name in in_use():
        if name not in sys.modules:
            _import(name)


def recorded() -> list[dict[str, str | None]]:
    """The plugins in use as manifests record them: name and version, null where a plugin has none."""
    return [{"name": name, "version": version(name)} for name in in_use()]


def require(plugins: Iterable[Mapping[str, str | None]], what: str, *, same_version: bool = True) -> None:
    """Imports the plugins that something was made with.

    Args:
        plugins: as `recorded` gives them.
        what: what was made with them, such as "release shop-0123456789", for the message.
        same_version: whether another version is refused.

    Raises:
        PluginUnavailable: one cannot be imported here, or has another version.
    """
    for plugin in plugins:
        name, wanted = str(plugin["name"]), plugin["version"]
        made_with = f"{what}: made with plugin {name}{f' {wanted}' if wanted else ''}"
        try:
            use([name])
        except ConfigError as e:
            raise PluginUnavailable(f"{made_with}, which is not available here ({e}); install it") from e
        if same_version and wanted is not None and (found := version(name)) != wanted:
            raise PluginUnavailable(
                f"{made_with}, and {found or 'one without a version'} is installed here; install {name} {wanted}, or"
                " train and publish with the one that is"
            )


def version(name: str) -> str | None:
    """The version of the distribution that brings a module, or its `__version__`; None where it has neither."""
    top = name.partition(".")[0]
    declared = getattr(sys.modules.get(top), "__version__", None)
    if declared is not None:
        return str(declared)
    try:
        return metadata.version((metadata.packages_distributions().get(top) or [top])[0])
    except metadata.PackageNotFoundError:
        return None


def shipped() -> list[str]:
    """The folders or files of the plugins in use, for `py_modules` of Ray's runtime environment."""
    tops = dict.fromkeys(name.partition(".")[0] for name in in_use())
    return [str(path) for top in tops if (path := _place(sys.modules[top])) is not None]


def _place(module: ModuleType) -> Path | None:
    paths = list(getattr(module, "__path__", []))
    return Path(paths[0]) if paths else Path(module.__file__) if module.__file__ else None


def _import(name: str) -> None:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # last, so that nothing that stands here takes the place of something installed
    try:
        importlib.import_module(name)
    except ConfigError:
        raise
    except ModuleNotFoundError as e:
        if e.name is not None and (name == e.name or name.startswith(f"{e.name}.")):
            raise ConfigError(
                f"plugins: there is no module {name}; install its package, or put the folder that has it on PYTHONPATH"
            ) from e
        raise ConfigError(_failed(name, e)) from e
    except (Exception, SystemExit) as e:  # a module may end the process where it is meant to be run
        raise ConfigError(_failed(name, e)) from e


def _failed(name: str, error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = (
        f"{error.filename}, line {error.lineno}"
        if isinstance(error, SyntaxError)
        else f"{frame.filename}, line {frame.lineno}"
    )
    return f"plugins: {name} cannot be imported: {type(error).__name__}: {one_line(error)} ({place})"
