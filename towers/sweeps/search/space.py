"""Turns overrides in Hydra's grammar into a search space: choices, ranges, intervals and globs, and fixed values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from data.artifacts.errors import ConfigError

SEED = "seed"
"""The parameter that is not a dimension of the space: each point is tried with all its values, and the mean counts."""

RECIPE, OF_RECIPES = "recipe", {"model": "model.num_blocks=3", "loss": "loss.temperature=0.1"}
"""The config group whose yaml files set values of other groups, and these groups with a value of theirs."""


@dataclass(frozen=True)
class SearchSpace:
    """A search space.

    Attributes:
        distributions: the distribution of each searched parameter, by override key, with its "+" and "@package" if it
            has them.
        fixed: overrides that all trials share.
        seeds: the seeds that each point is tried with; [None] where no seeds are given.
    """

    distributions: dict[str, BaseDistribution]
    fixed: list[str]
    seeds: list[str | None]

    @classmethod
    def of(cls, overrides: Sequence[Override]) -> "SearchSpace":
        """The space that these overrides describe; a later override of a key replaces an earlier one.

        Raises:
            ConfigError: there is nothing to search, or a range or interval is empty.
        """
        distributions: dict[str, BaseDistribution] = {}
        fixed: dict[str, str] = {}
        seeds: list[str | None] = [None]
        for override in overrides:
            key = override.get_key_element()
            distributions.pop(key, None)
            fixed.pop(key, None)
            if not override.is_sweep_override():
                fixed[key] = f"{key}={override.get_value_element_as_str()}"
            elif key == SEED:
                seeds = list(override.sweep_string_iterator())
            else:
                distributions[key] = distribution(override)
        if not distributions:
            raise ConfigError(
                "hydra/sweeper=optuna: there is nothing to search; give a choice(...), range(...) or interval(...), on"
                " the command line or in hydra.sweeper.params"
            )
        return cls(distributions, list(fixed.values()), seeds)

    @property
    def _given(self) -> dict[str, str]:
        """The values that all trials share, by override key without its "+"."""
        pairs = (one.partition("=") for one in self.fixed)
        return {key.lstrip("+"): value for key, _, value in pairs}

    def has(self, key: str) -> bool:
        """Whether a parameter is searched, or given a value for all trials."""
        return key in self._given or any(one.lstrip("+") == key for one in self.distributions)

    def refuse_groups_of_recipes(self) -> None:
        """Raises ConfigError where a whole `model` or `loss` is given, of which a searched recipe sets other values."""
        for group, single in OF_RECIPES.items():
            if RECIPE in self.distributions and group in self._given:
                raise ConfigError(
                    f"{group}: {self._given[group]} would be mixed with the recipes that are searched, which set values"
                    f" of {group} too; give one recipe (recipe=transformer), or single values such as {single}"
                )

    def excludes(self, values: Mapping[str, object]) -> str | None:
        """Why a point is not of this space, such as "loss.temperature=0.08 is not searched"; None where it is.

        A value that is given for all trials replaces that of a point, unless it is another yaml of a config group: with
        that exchanged, the point would be a mixture that nobody knows.

        Raises:
            ConfigError: the space has no such parameter.
        """
        for key, value in values.items():
            is_other = "." not in key and self._given.get(key, str(value)) != str(value)
            if is_other or (key not in self._given and self._value(key, value) is None):
                return f"{key}={value} is not searched"
        return None

    def point(self, values: Mapping[str, object]) -> dict[str, Any]:
        """A point of the space from values as yaml has them; parameters that it lacks are left to the sampler.

        A parameter that the command line has given a value of its own is left out, too.

        Raises:
            ConfigError: the space has no such parameter, or the parameter no such value.
        """
        found: dict[str, Any] = {}
        for key, value in values.items():
            if key in self._given:
                continue
            if (given := self._value(key, value)) is None:
                raise ConfigError(f"hydra.sweeper.starts: {key}: {value!r} is not in the search space")
            found[key] = given
        return found

    def _value(self, key: str, value: object) -> Any:
        """A value as Optuna has it, which writes 1 as 1.0 where that is a float; None if it is not searched.

        Raises:
            ConfigError: the space has no such parameter.
        """
        if key not in self.distributions:
            raise ConfigError(f"hydra.sweeper.starts: {key} is not searched; known are {', '.join(self.distributions)}")
        of = self.distributions[key]
        if isinstance(of, CategoricalDistribution):
            return next((one for one in of.choices if one == str(value) or _same_number(one, value)), None)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not of._contains(float(value)):  # type: ignore[arg-type]
            return None
        return of.to_external_repr(of.to_internal_repr(value))

    def overrides(self, values: dict[str, object], seed: str | None) -> list[str]:
        """The overrides of a trial at the point `values`."""
        searched = [f"{key}={value}" for key, value in values.items()]
        return [*self.fixed, *searched, *([] if seed is None else [f"{SEED}={seed}"])]


def _same_number(choice: object, value: object) -> bool:
    try:
        return float(str(choice)) == float(str(value))
    except ValueError:
        return False


def distribution(override: Override) -> BaseDistribution:
    """The distribution of one parameter: a range or an interval is numeric, everything else is a choice of texts.

    Raises:
        ConfigError: the range or interval is empty.
    """
    swept, key = override.value(), override.get_key_element()
    if isinstance(swept, IntervalSweep):
        return _interval(key, swept)
    if isinstance(swept, RangeSweep) and swept.start is not None and swept.stop is not None and swept.step > 0:
        return _range(key, swept)
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _interval(key: str, swept: IntervalSweep) -> BaseDistribution:
    assert swept.start is not None
    assert swept.end is not None
    log = "log" in swept.tags
    if swept.start >= swept.end or (log and swept.start <= 0):
        raise ConfigError(
            f"{key}: interval({swept.start}, {swept.end}) holds nothing{', or no logarithm' if log else ''}"
        )
    if isinstance(swept.start, int) and isinstance(swept.end, int):
        return IntDistribution(swept.start, swept.end, log=log)
    return FloatDistribution(swept.start, swept.end, log=log)


def _range(key: str, swept: RangeSweep) -> BaseDistribution:
    values = list(swept.range())
    if not values:
        raise ConfigError(f"{key}: range({swept.start}, {swept.stop}, {swept.step}) is empty")
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(values[0]), int(values[-1]), step=int(swept.step))
    return FloatDistribution(float(values[0]), float(values[-1]), step=float(swept.step))
