"""How values from outside, such as Hydra's or a manifest's, become the dataclass that they are of."""

from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import OmegaConf

T = TypeVar("T")


def structured(of: type[T], values: Mapping[str, Any]) -> T:
    """`of` with these values in place of its defaults; its `__post_init__` checks them.

    Raises:
        OmegaConfBaseException: a name or a type is not one of `of`'s.
        ValueError: a value is refused by `__post_init__`.
    """
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(of), values))  # type: ignore[return-value]
