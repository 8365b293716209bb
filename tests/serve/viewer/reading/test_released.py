"""The catalogue of a release, read by several views at the same time."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from serve.viewer.reading import released
from serve.viewer.reading.released import ReleasedCatalogue

if TYPE_CHECKING:
    from serve.releases.release import Release

DEADLINE_S = 30.0


@pytest.fixture
def catalogue(release: "Release") -> ReleasedCatalogue:
    return ReleasedCatalogue(release.parts.folder, release.manifest)


def test_views_of_a_cold_release_do_not_wait_for_each_other_for_ever(
    catalogue: ReleasedCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two values are read so slowly that the other views ask for what these need, and the other way round."""
    reads: list[str] = []

    def slowly(read: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def wrapped(*given: Any) -> Any:
            reads.append(str(given[1]) if read == load else "search")
            time.sleep(seconds)
            return read(*given)

        return wrapped

    load = released.Catalogue.load
    monkeypatch.setattr(released.Catalogue, "load", slowly(load, 0.3))
    monkeypatch.setattr(released, "TextSearch", slowly(released.TextSearch, 0.5))
    views = [
        lambda: (catalogue.item_search, catalogue.filterable),
        lambda: (catalogue.filterable, catalogue.user_search),
        lambda: catalogue.pick_user("random"),
    ]
    threads = [threading.Thread(target=view, daemon=True) for view in views]
    for thread, seconds in zip(threads, (0.01, 0.5, 0), strict=True):
        thread.start()
        time.sleep(seconds)
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(reads) == ["items", "search", "search", "users"]  # each once


def test_a_value_that_cannot_be_read_is_tried_again(
    catalogue: ReleasedCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(catalogue, "manifest", {})
        with pytest.raises(KeyError):
            _ = catalogue.items
    assert catalogue.items.table.num_rows
