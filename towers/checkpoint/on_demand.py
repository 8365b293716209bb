"""Fields of a dataclass that are computed when they are first asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

T = TypeVar("T")


@dataclass(frozen=True)
class Later(Generic[T]):
    """Stands for the value that a function returns, until that is asked for."""

    compute: Callable[[], T]


class OnDemand(Generic[T]):
    """A field that takes a value, or `Later` in its place; the value is computed once, and kept.

    Threads that ask for it at the same time may compute it more than once, with the same result.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = f"_{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> "OnDemand[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> "OnDemand[T] | T":
        if instance is None:
            raise AttributeError("the field has no default")
        value: T | Later[T] = instance.__dict__[self._key]
        if isinstance(value, Later):
            value = instance.__dict__[self._key] = value.compute()
        return value

    def __set__(self, instance: object, value: T | Later[T]) -> None:
        instance.__dict__[self._key] = value
