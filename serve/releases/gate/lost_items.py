"""Items of the live release that a new model lacks: those that `serve.refresh` alone has brought would be gone."""

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data.dataset.catalogue import Catalogue
from data.dataset.catalogue_update import updated
from serve.releases.release import Release

NUM_EXAMPLES = 5

CURE = "items that serve.refresh has added or changed stay if the log's own table of items has them too"


@dataclass(frozen=True, slots=True)
class LostItems:
    """How a catalogue falls short of the items of a live release. It is true where it does.

    Attributes:
        live: id of the live release.
        num_live: how many items it answers with; items that were removed from it are none of them.
        num_lost: how many of these the catalogue lacks.
        examples: the ids of the first of those.
        num_changed: how many others the catalogue describes otherwise; 0 unless `serve.refresh` has made the live
            release, since otherwise it is the log's own table that has changed.
    """

    live: str
    num_live: int
    num_lost: int
    examples: list[str]
    num_changed: int

    @property
    def share(self) -> float:
        """The lost ones as a share of the items of the live release."""
        return self.num_lost / max(self.num_live, 1)

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    def __bool__(self) -> bool:
        return self.num_lost > 0 or self.num_changed > 0

    def __str__(self) -> str:
        found = []
        if self.num_lost:
            more = ", ..." if self.num_lost > len(self.examples) else ""
            found.append(f"lacks {self.num_lost:,} of its {self.num_live:,} items ({', '.join(self.examples)}{more})")
        if self.num_changed:
            found.append(f"describes {self.num_changed:,} of them otherwise")
        return f"beside the live release {self.live}, this one {' and '.join(found) or 'lacks no item'}; {CURE}"


def lost_items(live: Release, items: Catalogue) -> LostItems:
    """What a catalogue lacks of the items of the live release."""
    before = live.parts.items
    ids = before.ids.values
    is_answered = pc.invert(pc.is_in(ids, value_set=pa.array(sorted(live.removed_items), ids.type)))
    answered = ids.filter(is_answered)
    lost = answered.filter(pa.array(items.ids.rows(answered) == 0))
    num_changed = 0
    if "refreshed" in live.manifest and _is_comparable(before, items):
        num_changed = len(updated(items, before.table.filter(is_answered)).changed)
    return LostItems(live.id, len(answered), len(lost), lost[:NUM_EXAMPLES].to_pylist(), num_changed)


def _is_comparable(before: Catalogue, after: Catalogue) -> bool:
    return before.features == after.features and before.vector_lengths == after.vector_lengths
