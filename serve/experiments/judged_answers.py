"""The answers by which a release on trial is judged: its own latest ones, and those of control in the same time.

What is kept of them is bounded, however small the release's share is, and however many answers control gives. Of
control whole users are then left out, chosen by a hash, so that of each user as much is known as on the other side.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from serve.experiments.assignment import CONTROL
from serve.experiments.canary_analysis import MAX_ANSWERS
from serve.experiments.exposure_files import SCHEMA

MAX_CONTROL = 100_000
"""At most this many answers of control are kept beside them. Of more, those to every second user go, then again."""

MAX_OF_USER = 100
"""At most this many answers to one user count, the latest, so that a monitor that asks all day displaces nobody."""


@dataclass(frozen=True, slots=True)
class JudgedAnswers:
    """What one release on trial is judged by.

    Attributes:
        variant: its id.
        exposures: its own and control's, by SCHEMA.
        share: the share of control's users who are among them.
    """

    variant: str
    exposures: pa.Table = field(default_factory=SCHEMA.empty_table)
    share: float = 1.0

    def with_rows(self, rows: pa.Table) -> "JudgedAnswers":
        """The same with further exposures; they may come in any order, and more than are needed may stay for now."""
        is_own = pc.equal(rows["variant"], self.variant)
        control = _of_share(rows.filter(pc.equal(rows["variant"], CONTROL)), self.share)
        exposures = pa.concat_tables([self.exposures, rows.filter(is_own), control])
        after = replace(self, exposures=exposures)
        return after.cut() if len(exposures) > 2 * (MAX_ANSWERS + MAX_CONTROL) else after

    def cut(self) -> "JudgedAnswers":
        """The same without what is not needed, in the order of time."""
        ordered = self.exposures.take(pc.sort_indices(self.exposures, [("time", "ascending")]))
        own, control = (
            _latest_of_users(ordered.filter(pc.equal(ordered["variant"], variant)))
            for variant in (self.variant, CONTROL)
        )
        if len(own) >= MAX_ANSWERS:
            own = own.slice(len(own) - MAX_ANSWERS)
            control = control.filter(pc.greater_equal(control["time"], own["time"][0]))
        share = self.share
        while len(control) > MAX_CONTROL:
            share /= 2
            control = _of_share(control, share)
        return JudgedAnswers(self.variant, pa.concat_tables([own, control]), share)

    @property
    def is_full(self) -> bool:
        """Whether earlier answers would not be needed."""
        return len(self.exposures.filter(pc.equal(self.exposures["variant"], self.variant))) >= MAX_ANSWERS


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """What the releases on trial in one run of an experiment are judged by.

    Attributes:
        of: by release.
        num_read: the number of exposures by variant that were added, kept or not.
    """

    of: Mapping[str, JudgedAnswers] = field(default_factory=dict)
    num_read: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def begun(cls, variants: Iterable[str]) -> "JudgedRun":
        """That of an experiment with these releases, before any exposure was added."""
        return cls({variant: JudgedAnswers(variant) for variant in variants})

    def with_groups(self, groups: Iterable[pa.Table]) -> "JudgedRun":
        """The same with further exposures, which come group by group."""
        of, num_read = dict(self.of), dict(self.num_read)
        for rows in groups:
            of = {variant: answers.with_rows(rows) for variant, answers in of.items()}
            for count in pc.value_counts(rows["variant"]).to_pylist():
                num_read[count["values"]] = num_read.get(count["values"], 0) + count["counts"]
        return JudgedRun(of, num_read)

    def cut(self) -> "JudgedRun":
        """The same without what is not needed, see `JudgedAnswers.cut`."""
        return replace(self, of={variant: answers.cut() for variant, answers in self.of.items()})

    @property
    def is_full(self) -> bool:
        """Whether earlier answers of no release would be needed."""
        return all(answers.is_full for answers in self.of.values())


def _units(exposures: pa.Table) -> pa.DictionaryArray:
    """Whom each answer was given to: its user or, where there is none, the request itself."""
    return pc.coalesce(exposures["user"], exposures["request_id"]).combine_chunks().dictionary_encode()


def _of_share(exposures: pa.Table, share: float) -> pa.Table:
    """The exposures to a share of the users: always to the same, and those of a smaller share are among them."""
    if share == 1 or not len(exposures):
        return exposures
    units = _units(exposures)
    hash_U = np.array([zlib.crc32(unit.encode()) for unit in units.dictionary.to_pylist()])
    return exposures.filter(pa.array((hash_U < share * 2**32)[units.indices.to_numpy()]))


def _latest_of_users(ordered: pa.Table) -> pa.Table:
    """At most MAX_OF_USER exposures to each user, the last ones."""
    unit_N = _units(ordered).indices.to_numpy()
    by_user = np.argsort(unit_N, kind="stable")
    ends_U = np.cumsum(np.bincount(unit_N))
    is_kept = np.arange(len(unit_N)) >= ends_U[unit_N[by_user]] - MAX_OF_USER
    return ordered if is_kept.all() else ordered.take(pa.array(np.sort(by_user[is_kept])))
