"""The source of logs without times, as papers publish them: `user item item ...` or `user item` on each line."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.records import arrow_compute as pc
from data.sources.entities import entity_table
from data.sources.files import address, content_of, located
from data.sources.schema import SPLITS, DataError, Feature, FeatureKind
from data.sources.source import RawLog, SourceConfig, in_blocks, raw_block, source
from data.sources.tabular.names_as_rows import is_name
from data.sources.tabular.plain_lines import Lines, lines
from data.sources.values.missing import SPELLINGS, MissingText, is_missing

TRAIN, VALIDATION, TEST = SPLITS
ATTRIBUTES = Feature(name="attributes", kind=FeatureKind.multi_categorical, max_values=32)

OTHER_SPACES = r"[\x{A0}\x{1680}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}]"
"""White space that separates no ids."""


@source("interaction_lists")
@dataclass(kw_only=True, slots=True)
class InteractionListsSource(SourceConfig):
    """Lists of items by user, oldest first. Ids are separated by white space, and files may be compressed.

    Lines end in LF, CRLF or CR. A file that is not UTF-8 is read as latin-1; UTF-16 is refused, and so are other line
    breaks and other white space than ASCII has.

    An interaction's time is its index in the log. If `test` is not given, the log has no split of its own, and
    `data.split.kind=leave_last_out` makes one.

    Attributes:
        train: a file with all interactions, or with those to train on.
        test: a file with the interactions of the test split, for `data.split.kind=given`.
        validation: a file with interactions that are in `train` too and form the validation split.
        item_attributes: a file with a JSON object that has a list of attribute ids for each item; they become the
            items' feature `attributes`.
        missing: text that stands for a missing value: an id that is spelled so is refused, an attribute is left out.
    """

    train: str
    test: str | None = None
    validation: str | None = None
    item_attributes: str | None = None
    missing: list[str] = field(default_factory=lambda: list(SPELLINGS))

    def __post_init__(self) -> None:
        if self.validation is not None and self.test is None:
            raise ConfigError("data.source.validation: needs data.source.test; or set data.split.kind=leave_last_out")

    def read(self) -> RawLog:
        found, missing = self._located(), MissingText(self.missing_spellings())
        pairs = {name: _pairs(file, self.missing) for name, file in found.items() if name != "item_attributes"}
        interactions = pairs["train"]
        splits = pa.nulls(len(interactions), pa.string())
        if "test" in pairs:
            splits = _train_splits(interactions, pairs.get("validation"), self.validation)
            splits = pa.concat_arrays([splits, pa.repeat(TEST, len(pairs["test"]))])
            interactions = pa.concat_tables([interactions, pairs["test"]])
        ids = {name: interactions[name] for name in ("user_id", "item_id")}
        order = pa.array(np.arange(len(interactions), dtype=np.int64))
        table = raw_block(**ids, time=order, split=splits, first_position=0)
        items = _attributes(found["item_attributes"], missing) if "item_attributes" in found else None
        return RawLog(
            in_blocks(table),
            None,
            items,
            item_features=() if items is None else (ATTRIBUTES,),
            place=self.train,
            missing_text=missing.counts,
            own_split=None if self.test is None else "data.source.test",
        )

    def missing_spellings(self) -> tuple[str, ...]:
        return tuple(self.missing)

    def files(self) -> list[str]:
        return [address(file) for file in self._located().values()]

    def places(self) -> dict[str, str]:
        names = ("train", "test", "validation", "item_attributes")
        uris = {name: getattr(self, name) for name in names}
        return {name: uri for name, uri in uris.items() if uri is not None}

    def _located(self) -> Mapping[str, Folder]:
        return {name: located(uri, f"data.source.{name}") for name, uri in self.places().items()}


def _pairs(file: Folder, spellings: Sequence[str]) -> pa.Table:
    """A table with the columns user_id and item_id, in the file's order; a user without items is left out.

    Raises:
        DataError: an id is spelled as a missing value, a line has names of columns in place of ids, or the white space
            in it does not say where an id ends.
    """
    found = lines(file)
    _refuse_other_spaces(found)
    words = pc.ascii_split_whitespace(found.text)  # no line is empty, so each begins with a user
    _refuse_names(found, words)
    flat, first = words.flatten(), words.offsets.to_numpy()[:-1]
    is_item = np.ones(len(flat), dtype=bool)
    is_item[first] = False
    of_line = pc.list_parent_indices(words)
    users = flat.take(first).take(of_line)
    pairs = pa.table({"user_id": users, "item_id": flat}).filter(pa.array(is_item))
    for name in pairs.column_names:
        lost = is_missing(pairs[name], spellings)
        if count := pc.sum(lost).as_py():
            example = pairs.filter(lost).slice(0, 1).to_pylist()[0]
            line = found.number(of_line.filter(pa.array(is_item))[pc.index(lost, True).as_py()].as_py())
            raise DataError(
                f"{file}: {name} is missing in {count:,} of {len(pairs):,} interactions, such as {example} in line"
                f" {line}, by data.source.missing: correct or remove them, or set data.source.missing=[] if these are"
                " ids"
            )
    return pairs


def _refuse_other_spaces(found: Lines) -> None:
    """Raises DataError if a line has white space that separates no ids."""
    if pc.all(pc.string_is_ascii(found.text)).as_py():
        return
    found.refuse(
        pc.match_substring_regex(found.text, OTHER_SPACES), "ids separated by spaces or tabs expected in each line"
    )


def _refuse_names(found: Lines, words: pa.ListArray) -> None:
    """Raises DataError if the first two words of a line are names of columns."""
    flat, offsets = words.flatten(), words.offsets.to_numpy()
    named = np.flatnonzero(is_name(flat.take(offsets[:-1]), "user_id"))
    named = named[np.diff(offsets)[named] > 1]
    is_wrong = np.zeros(len(words), dtype=bool)
    is_wrong[named] = is_name(flat.take(offsets[named] + 1), "item_id")
    found.refuse(pa.array(is_wrong), "ids expected in each line (remove a line of names)")


def _train_splits(train: pa.Table, validation: pa.Table | None, place: str | None) -> pa.Array:
    """The split of each pair in the train file: validation if the validation file has the pair too.

    Args:
        place: the validation file, for the message of an error.
    """
    if validation is None:
        return pa.repeat(TRAIN, len(train))
    all_pairs, held_out = _joined(train), _joined(validation)
    unknown = held_out.filter(pc.invert(pc.is_in(held_out, all_pairs)))
    if len(unknown):
        raise DataError(
            f"{place}: {len(unknown)} of {len(held_out)} pairs are not in data.source.train, such as "
            f"{unknown[0].as_py()!r}: validation must be a part of train"
        )
    return pc.if_else(pc.is_in(all_pairs, held_out), VALIDATION, TRAIN).combine_chunks()


def _joined(pairs: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(pairs["user_id"], pairs["item_id"], " ")


def _attributes(file: Folder, missing: MissingText) -> pa.Table:
    """The table of items: item_id, title (null), attributes."""
    try:
        by_item = json.loads(content_of(file), object_pairs_hook=_distinct)
        raw = pa.table({"item_id": pa.array(by_item.keys()), ATTRIBUTES.name: pa.array(by_item.values())})
    except DataError:
        raise
    # ArrowInvalid is a ValueError; numbers of more than 64 bits overflow, and deep nesting is a RecursionError
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError) as e:
        why = "numbers of more than 64 bits must be text" if isinstance(e, OverflowError) else e
        raise DataError(f"{file}: expected a JSON object with a list of attribute ids for each item ({why})") from e
    return entity_table(raw, "item_id", (ATTRIBUTES,), str(file), missing=missing)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object with these keys and values.

    Raises:
        ValueError: it has a key twice.
    """
    counts = Counter(key for key, _ in pairs)
    if len(counts) < len(pairs):
        raise ValueError(f"{next(key for key, count in counts.items() if count > 1)!r} has more than one value")
    return dict(pairs)
