"""What all views of the page share."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import Folder
from serve.batch.forgotten import forgotten_users
from serve.events.config import EventsConfig
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError, log_read_us
from serve.viewer.config import PageConfig
from serve.viewer.endpoint import Asked, Endpoint
from serve.viewer.live.recorder import MetricsRecorder
from serve.viewer.reading.audience import Audience, audience
from serve.viewer.reading.comparison import Compared, compared
from serve.viewer.reading.released import DisplayItem, ReleasedCatalogue
from serve.viewer.reading.releases import Recent, catalogues
from serve.viewer.reading.variants import RunningVariants

if TYPE_CHECKING:
    from serve.viewer.reading.item_map import ItemMap
    from serve.viewer.reading.opened import OpenedRelease

NUM_OPENED = 2
"""Releases that are kept with their towers."""


@dataclass(frozen=True)
class Viewer:
    """What all views share.

    Attributes:
        config: The configuration of the page.
        endpoint: The client of the endpoint.
        storage: Where the releases are.
        num_candidates: Items that a release retrieves and re-ranks, where it answers in this process.
        sweeps: The folder of the sweeps.
        events: Where it is known who was forgotten: a release knows nothing of them. None forgets nobody.
        catalogues: The catalogue of each release, by its id; opens it in the calling thread.
        opened: The same with towers.
        metrics: The metrics of the endpoint in the last hour.
        variants: The variants of the running experiment.
    """

    config: PageConfig
    endpoint: Endpoint
    storage: Folder
    num_candidates: int
    sweeps: str
    events: EventsConfig | None = None
    catalogues: Recent[ReleasedCatalogue] = field(init=False)
    opened: "Recent[OpenedRelease]" = field(init=False)
    metrics: MetricsRecorder = field(init=False)
    variants: RunningVariants = field(init=False)

    @property
    def registry(self) -> ReleaseRegistry:
        """The releases."""
        return ReleaseRegistry.of(self.storage)

    def __post_init__(self) -> None:
        object.__setattr__(self, "catalogues", catalogues(self.registry))
        object.__setattr__(self, "opened", Recent(self._open_towers, NUM_OPENED))
        object.__setattr__(self, "metrics", MetricsRecorder(self.config))
        object.__setattr__(self, "variants", RunningVariants(self.storage))

    async def catalogue(self, release_id: str | None = None) -> Asked[ReleasedCatalogue]:
        """Returns the catalogue of a release, by default of the live one, or why there is none."""
        try:
            return Asked(await asyncio.to_thread(lambda: self.catalogues(self.registry.resolve(release_id))))
        except ReleaseError as e:
            return Asked(problem=str(e))
        except OSError as e:
            return Asked(problem=f"the storage cannot be read: {e}")

    def _open_towers(self, release_id: str) -> "OpenedRelease":
        from serve.viewer.reading.opened import OpenedRelease  # brings torch, which the first views do without

        return OpenedRelease.open(self.registry, release_id, self.num_candidates, self.forgotten)

    def forgotten(self, user_ids: pa.Array, manifest: Mapping[str, Any]) -> list[str]:
        """Returns which of some users were forgotten since the log of a release was read; asks the states of users.

        Args:
            manifest: That of the release.

        Raises:
            StoreUnavailable: It is not known who was forgotten.
        """
        if self.events is None:
            return []
        return forgotten_users(self.events, self.storage, user_ids, log_read_us(manifest))

    def _sample(self, catalogue: ReleasedCatalogue) -> pa.Array:
        """Users of a release with a history, without those who were forgotten since."""
        users = catalogue.sample_users(self.config.sampled_users)
        gone = pa.array(self.forgotten(users, catalogue.manifest), users.type)
        return users.filter(pc.invert(pc.is_in(users, gone)))

    async def lists(self, side: str, user_ids: pa.Array, k: int) -> list[list[str]]:
        """Returns the first k items of each user.

        Args:
            side: `release:order`, the order being the name of a `serve.viewer.reading.opened.Order`.

        Raises:
            ReleaseError, NotSealed: There is no such release, or it is damaged.
            StoreUnavailable: It is not known who was forgotten.
        """
        return await asyncio.to_thread(self._lists, side, user_ids, k)

    def _lists(self, side: str, user_ids: pa.Array, k: int) -> list[list[str]]:
        from serve.viewer.reading.opened import Order

        release_id, _, order = side.rpartition(":")
        return self.opened(release_id).lists(user_ids, Order[order], k)

    async def display(self, release_id: str, item_ids: Sequence[str]) -> list[DisplayItem]:
        """Returns items as a release has them; raises ReleaseError if there is no such release."""
        return await asyncio.to_thread(lambda: self.catalogues(release_id).display(item_ids))

    async def compare(self, sides: tuple[str, str], k: int) -> Compared:
        """Compares two sides over a sample of the users of the first side's release; raises what `lists` raises."""

        def compare() -> Compared:
            of_one, of_other = (self.catalogues(side.rpartition(":")[0]) for side in sides)
            users = self._sample(of_one)
            one, other = (self._lists(side, users, k) for side in sides)
            return compared(users.to_pylist(), one, other, of_one.known_items(one), of_other.known_items(other))

        return await asyncio.to_thread(compare)

    async def audience(self, release_id: str, item_id: str) -> Audience:
        """Returns to whom of a sample of users a release shows an item; raises what `lists` raises."""

        def find() -> Audience:
            catalogue, k = self.catalogues(release_id), self.config.k
            users = self._sample(catalogue)
            return audience(catalogue, users, self._lists(f"{release_id}:full", users, k), item_id, k)

        return await asyncio.to_thread(find)

    async def item_map(self, release_id: str, feature: str, chosen: Sequence[str], user_id: str) -> "ItemMap":
        """Returns the map of a release's items; raises what `lists` raises."""

        def draw() -> "ItemMap":
            from serve.viewer.reading.item_map import item_map

            opened, catalogue = self.opened(release_id), self.catalogues(release_id)
            is_gone = bool(user_id) and bool(self.forgotten(pa.array([user_id]), catalogue.manifest))
            return item_map(opened, catalogue, self.config.map_items, feature, chosen, "" if is_gone else user_id)

        return await asyncio.to_thread(draw)
