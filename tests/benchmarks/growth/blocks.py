"""A synthetic log of any size whose blocks are made inside Ray tasks, so that no process holds it.

It is ordered by time, as a real log is: each block is a stretch of time in which any user may occur. A user has one of
CLUSTERS tastes, which follows from the user's number alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.sources.schema import RAW_INTERACTIONS
from data.sources.source import RawLog, SourceConfig, raw_block, read_in_parts

BLOCK, CLUSTERS = 250_000, 100
START_S, LENGTH_S = 1_735_689_600, 31_536_000  # the year 2025
TASTE_SHARE = 0.85


@dataclass(kw_only=True, slots=True)
class LogOfBlocks(SourceConfig):
    """The log.

    Attributes:
        interactions: their number.
        users, items: how many there may be; a few of a small log do not occur.
    """

    interactions: int
    users: int
    items: int
    seed: int = 0

    def read(self) -> RawLog:
        assert RAW_INTERACTIONS.names[0] == "user_id"
        starts = range(0, self.interactions, BLOCK)
        return RawLog(read_in_parts([partial(block, self, start) for start in starts]), None, None, place="the log")

    def files(self) -> list[str]:
        return []


def block(of: LogOfBlocks, start: int) -> Iterable[pa.Table]:
    """The interactions from number `start` on."""
    size = min(BLOCK, of.interactions - start)
    random = np.random.default_rng([of.seed, start])
    user = (of.users * random.random(size) ** 1.5).astype(np.int64)  # some are more active than others
    by_taste = random.random(size) < TASTE_SHARE
    cluster = np.where(by_taste, _scrambled(user) % CLUSTERS, random.integers(CLUSTERS, size=size))
    rank = (of.items // CLUSTERS * random.random(size) ** 2).astype(np.int64)  # and some more popular
    share = np.sort(random.random(size)) * size + start
    yield raw_block(
        user_id=_ids("u", _scrambled(user)),
        item_id=_ids("i", rank * CLUSTERS + cluster),
        time=pa.array(START_S + (share / of.interactions * LENGTH_S).astype(np.int64)),
        first_position=start,
    )


def _scrambled(number: np.ndarray) -> np.ndarray:
    """Other numbers, one for each, so that the order of ids says nothing of how active a user is."""
    return number * 2_654_435_761 % (1 << 32)


def _ids(prefix: str, number: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pa.array(number).cast(pa.string()), "")
