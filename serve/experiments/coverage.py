"""Coverage: how many distinct items a release recommends, and whether fewer than another does is more than chance.

Where most answers are one popular list, a few personal ones make nearly all of the distinct items, and which side they
fall on is chance. So the number says little by itself; what splits of the same answers have by chance is the measure.

Shape legend: A answers of each side, F items in the answers of both.
"""

import numpy as np
import pyarrow as pa

from data.artifacts.records import arrow_compute as pc

NUM_WORDS = 32
"""64 times as many splits are drawn: 2,048, one for each bit."""


def num_distinct_items(answers: pa.ListArray) -> int:
    """The number of distinct items in lists of item ids."""
    return len(pc.unique(pc.list_flatten(answers)))


def p_of_narrower(trial: pa.ListArray, control: pa.ListArray) -> float:
    """The p-value of a permutation test: whether answers have fewer distinct items than by chance.

    Each split exchanges the answers of one side with those of the other, pair by pair, each with a chance of a half: if
    the sides are alike, all of these are equally probable. The p-value is the share of splits in which the ratio of the
    distinct items of both is no larger than the one observed, which is counted too. The splits are always the same.

    Args:
        trial: a list of item ids for each of A answers.
        control: as many lists.
    """
    lists = pa.concat_arrays([trial, control])
    code_F = pc.list_flatten(lists).dictionary_encode().indices.to_numpy()
    by_item_F = np.argsort(code_F, kind="stable")
    answer_F = pc.list_parent_indices(lists).to_numpy()[by_item_F]
    starts = np.cumsum(np.bincount(code_F)) - np.bincount(code_F)
    observed, observed_control = num_distinct_items(trial), num_distinct_items(control)
    random = np.random.default_rng(0)
    num_as_small = 1
    for _ in range(NUM_WORDS):
        swap_A = random.integers(0, 2**64, len(trial), dtype=np.uint64)
        is_trial_F = np.concatenate([~swap_A, swap_A])[answer_F]  # a bit for each of 64 splits
        split, split_control = (_num_present(bits_F, starts) for bits_F in (is_trial_F, ~is_trial_F))
        num_as_small += int((split * observed_control <= observed * split_control).sum())
    return num_as_small / (64 * NUM_WORDS + 1)


def _num_present(bits_F: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """In how many groups of adjacent words each bit is set at all, int64 [64]; a group for each start."""
    present = np.bitwise_or.reduceat(bits_F, starts)
    count: np.ndarray = np.unpackbits(present.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=0, dtype=np.int64)
    return count
