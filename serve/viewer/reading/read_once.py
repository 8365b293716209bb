"""Values that an object reads when they are first asked for, under one lock of the object."""

import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, overload

T = TypeVar("T")


class Reader(Protocol):
    """An object with values that it reads once.

    Attributes:
        reading: The lock that is held while a value is read; a value may ask for others meanwhile.
    """

    reading: threading.RLock


class ReadOnce(Generic[T]):
    """A property whose method runs at most once per object, also where several threads ask for it at the same time.

    In contrast to `functools.cached_property`, which before Python 3.12 has a lock for each property that all objects
    share, there is one lock per object. Threads that ask for different values, which need each other, can therefore not
    wait for each other for ever, and an object does not wait for another.
    """

    def __init__(self, read: Callable[[Any], T]) -> None:
        self._read, self.__doc__ = read, read.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "ReadOnce[T]": ...

    @overload
    def __get__(self, instance: Reader, owner: type) -> T: ...

    def __get__(self, instance: Reader | None, owner: type) -> "ReadOnce[T] | T":
        """Returns the value; Python asks the object's own dictionary, which has it from then on, before this method."""
        if instance is None:
            return self
        with instance.reading:
            if self._name not in instance.__dict__:
                instance.__dict__[self._name] = self._read(instance)
            value: T = instance.__dict__[self._name]
            return value
