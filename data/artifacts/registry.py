"""Registries of implementations by the name that the config gives them, so that adding one means adding a file."""

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from data.artifacts.errors import ConfigError
from data.artifacts.plugins import import_in_use

T = TypeVar("T")
Entry = TypeVar("Entry")

REGISTERED = re.compile(r"""^@[\w.]+\(["']([^"'\n]+)["']\)""", re.MULTILINE)
"""A decorator with a name, such as `@LOSSES.register("softmax")`, as it stands in a file of a registry's folder."""


class Registry(Mapping[str, T], Generic[T]):
    """Implementations of one interface (classes or functions) by name.

    A file in the registry's folder registers itself. It is imported when its name is looked up, and not before, so that
    a name can be checked without the libraries (torch, FAISS) that its implementation needs. Code from elsewhere
    registers itself when it is imported. Modules of the folder may import the module that holds the registry.
    """

    def __init__(self, key: str, package: str) -> None:
        """Creates an empty registry.

        Args:
            key: the config key whose values are the names, such as "loss.kind"; error messages begin with it.
            package: the folder of the implementations that belong to this repository, as a dotted path.
        """
        self._key = key
        self._package = package
        self._entries: dict[str, T] = {}
        self._modules: dict[str, list[str]] | None = None
        self._is_complete = False

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """A decorator that registers a class or function under this name.

        Raises:
            ConfigError: another one has the name already; the message names both.
        """

        def decorate(entry: Entry) -> Entry:
            other: object = self._entries.setdefault(name, cast(T, entry))
            if other is not entry:
                raise self._taken(name, _described(other), entry)
            if not (module := _module(entry)).startswith(f"{self._package}."):
                for ours in self._modules_by_name().get(name, ()):
                    if ours != module:
                        del self._entries[name]
                        raise self._taken(name, ours, entry)
            return entry

        return decorate

    def require(self, name: str) -> None:
        """Raises ConfigError if there is no implementation of this name; imports none that a file's text tells of."""
        if name not in self._entries and name not in self._modules_by_name():
            self[name]

    def __getitem__(self, name: str) -> T:
        """The implementation of this name.

        Raises:
            ConfigError: there is none; the message lists the known names.
        """
        import_in_use()
        if name not in self._entries:
            for module in self._modules_by_name().get(name, ()):
                importlib.import_module(module)
        if name not in self._entries:
            self._import_package()
        if name not in self._entries:
            raise ConfigError(f"{self._key}: '{name}' is unknown; known are {', '.join(self)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._entries and name not in self._modules_by_name():
            self._import_package()
        return name in self._entries or name in self._modules_by_name()

    def __iter__(self) -> Iterator[str]:
        """All names, sorted."""
        self._import_package()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._import_package()
        return len(self._entries)

    def _modules_by_name(self) -> dict[str, list[str]]:
        """The modules of the folder by the name that they register, as far as their text tells it."""
        if self._modules is None:
            found: dict[str, list[str]] = {}
            for module in self._package_modules():
                spec = importlib.util.find_spec(module)
                loader: Any = spec and spec.loader
                for name in REGISTERED.findall(loader.get_source(module) or ""):
                    found.setdefault(name, []).append(module)
            self._modules = found
        return self._modules

    def _package_modules(self) -> list[str]:
        paths = importlib.import_module(self._package).__path__
        return [f"{self._package}.{module.name}" for module in pkgutil.iter_modules(paths)]

    def _import_package(self) -> None:
        import_in_use()
        if not self._is_complete:
            for module in self._package_modules():
                importlib.import_module(module)
            self._is_complete = True

    def _taken(self, name: str, other: str, entry: object) -> ConfigError:
        both = f"{other} and {_described(entry)}"
        return ConfigError(f"{self._key}: {both} both register the name '{name}'; rename one")


def _module(entry: object) -> str:
    return (entry if hasattr(entry, "__qualname__") else type(entry)).__module__


def _described(entry: object) -> str:
    """Module and name of a class or function, or of the class of any other object."""
    named = entry if hasattr(entry, "__qualname__") else type(entry)
    return f"{named.__module__}.{named.__qualname__}"
