"""Registries of implementations by the name that the config gives them, so that adding one means adding a file."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar, cast

from data.artifacts.errors import ConfigError

T = TypeVar("T")
Entry = TypeVar("Entry")


class Registry(Mapping[str, T], Generic[T]):
    """Implementations of one interface (classes or functions) by name.

    The modules of a folder are imported before the first lookup, so that a file in that folder registers itself. They
    may import the module that holds the registry. Code from elsewhere registers itself when it is imported.
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
        self._is_complete = False

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """A decorator that registers a class or function under this name.

        Raises:
            ConfigError: another one has the name already; the message names both.
        """

        def decorate(entry: Entry) -> Entry:
            other: object = self._entries.setdefault(name, cast(T, entry))
            if other is not entry:
                raise ConfigError(
                    f"{self._key}: {_described(other)} and {_described(entry)} both register the name '{name}';"
                    " rename one"
                )
            return entry

        return decorate

    def __getitem__(self, name: str) -> T:
        """The implementation of this name.

        Raises:
            ConfigError: there is none; the message lists the known names.
        """
        self._import_package()
        if name not in self._entries:
            raise ConfigError(f"{self._key}: '{name}' is unknown; known are {', '.join(self)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._import_package()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """All names, sorted."""
        self._import_package()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._import_package()
        return len(self._entries)

    def _import_package(self) -> None:
        if not self._is_complete:
            for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._is_complete = True


def _described(entry: object) -> str:
    """Module and name of a class or function, or of the class of any other object."""
    named = entry if hasattr(entry, "__qualname__") else type(entry)
    return f"{named.__module__}.{named.__qualname__}"
