"""What a feature kind decides, and the registry of kinds.

A kind is a class in a module of this folder (or in any module that is imported before the kind is used):

    @register_feature_kind("categorical")
    class Categorical(FeatureKind):
        ...

All other code asks a kind for its properties. It never compares kinds, so that a new kind needs no change elsewhere.
"""

from collections.abc import Callable
from enum import Enum
from typing import ClassVar, TypeVar

import pyarrow as pa

from data.artifacts.errors import ConfigError
from data.artifacts.records import arrow_compute as pc
from data.artifacts.registry import Registry

EQUALITY = ("==", "!=", "in")
"""Filter operators on one string per row."""

CONTAINMENT = ("contains", "contains_any", "contains_all")
"""Filter operators on a list of strings per row."""

COMPARISON = ("==", "!=", "<", "<=", ">", ">=", "in")
"""Filter operators on one number per row."""

NUMBER, STRING, STRINGS, VECTOR = pa.float64(), pa.string(), pa.list_(pa.string()), pa.list_(pa.float32())
"""The Arrow types that a feature column may have: one number, one string, a list of strings, or a vector per row."""


class NumberScale(Enum):
    """How the towers scale a number."""

    standard = "standard"  # in standard deviations from the mean
    log = "log"  # the same of sign(x) log(1 + |x|)
    quantiles = "quantiles"  # by the bucket that it falls into, of buckets with equally many values


class _KindsByName(type):
    """Makes `FeatureKind.numeric` mean the kind that is registered as `numeric`."""

    def __getattr__(cls, name: str) -> "FeatureKind":
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return feature_kind(name)
        except ConfigError as e:
            raise AttributeError(str(e)) from e


class FeatureKind(metaclass=_KindsByName):
    """How a feature column is read from a log, encoded for the towers, filtered and rendered.

    There is one instance per class, in copies and after unpickling too, so kinds can be compared by identity.

    Attributes:
        name: the name that yaml and JSON use; set by `register_feature_kind`.
        arrow_type: the column's type in the users and items tables: NUMBER, STRING, STRINGS or VECTOR. Towers encode a
            NUMBER as `number_scale` says, project a VECTOR, and take the others as a bag of values of a vocabulary.
        number_scale: how the towers scale a NUMBER.
        version: version of the encoding. A kind whose encoding changes raises it, and the former kind is kept under the
            name `<name>_v<version>`, with which earlier checkpoints are opened.
        filter_operators: the operators that filters may use, the most natural one first: EQUALITY for STRING,
            CONTAINMENT for STRINGS, COMPARISON for NUMBER, or none, as for VECTOR.
        is_rendered: whether responses show the feature.
        is_free_text: whether a value may have several lines; in other kinds, a line break is a fault of the file.
    """

    name: ClassVar[str] = ""
    arrow_type: ClassVar[pa.DataType] = pa.null()
    filter_operators: ClassVar[tuple[str, ...]] = ()
    is_rendered: ClassVar[bool] = True
    is_free_text: ClassVar[bool] = False
    number_scale: ClassVar[NumberScale] = NumberScale.standard
    version: ClassVar[int] = 1
    _instance: ClassVar["FeatureKind"]

    def __new__(cls) -> "FeatureKind":
        if "_instance" not in cls.__dict__:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __reduce__(self) -> tuple[type["FeatureKind"], tuple[()]]:
        return type(self), ()

    def __repr__(self) -> str:
        return f"FeatureKind.{self.name}"

    def __str__(self) -> str:
        return self.name

    @property
    def is_number(self) -> bool:
        """Whether a row has one number."""
        return bool(self.arrow_type == NUMBER)

    @property
    def is_list(self) -> bool:
        """Whether a row has a list of strings."""
        return bool(self.arrow_type == STRINGS)

    @property
    def is_vector(self) -> bool:
        """Whether a row has a vector of numbers, of the same length in all rows."""
        return bool(self.arrow_type == VECTOR)

    @property
    def has_vocabulary(self) -> bool:
        """Whether the towers encode a row as a bag of values from a vocabulary (see `value_lists`)."""
        return not (self.is_number or self.is_vector)

    @property
    def is_filterable(self) -> bool:
        """Whether filters may name a feature of this kind."""
        return bool(self.filter_operators)

    def cast(self, column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
        """A column of a log in `arrow_type`; a value that cannot be read becomes null.

        Args:
            column: of any type.
            separator: the text between the values of a list that is stored as text.

        Raises:
            DataError: columns of this type can never be cast.
        """
        raise NotImplementedError

    def clean(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """A cast column without values that cannot be used: NaN and infinite numbers become null."""
        return pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type)) if self.is_number else column

    def value_lists(self, column: pa.Array) -> pa.ListArray:
        """The values that a vocabulary holds, as one list per row; needed only where `has_vocabulary`.

        Args:
            column: of type `arrow_type`.

        Returns:
            list<string> of the column's length. A row that is null may give null.
        """
        raise NotImplementedError


K = TypeVar("K", bound=type[FeatureKind])

FEATURE_KINDS: Registry[type[FeatureKind]] = Registry("feature kind", "data.sources.feature_kinds")


def register_feature_kind(name: str) -> Callable[[K], K]:
    """A class decorator that registers a subclass of FeatureKind under the name that yaml uses.

    Raises:
        ConfigError: another kind has the name already.
        TypeError: the class has no Arrow type that a feature column may have.
    """

    def decorate(cls: K) -> K:
        if cls.arrow_type not in (NUMBER, STRING, STRINGS, VECTOR):
            raise TypeError(f"{cls.__qualname__}.arrow_type must be NUMBER, STRING, STRINGS or VECTOR")
        FEATURE_KINDS.register(name)(cls)
        cls.name = name
        return cls

    return decorate


def feature_kind(name: "str | FeatureKind") -> FeatureKind:
    """The kind that is registered under a name; a kind is returned as it is.

    Raises:
        ConfigError: there is no such kind; the message lists the known ones.
    """
    return name if isinstance(name, FeatureKind) else FEATURE_KINDS[name]()
