"""What views ask of the releases."""

from pathlib import Path

from tests.serve.viewer.two_releases import two_releases


async def test_each_side_of_a_comparison_is_measured_by_its_own_catalogue(tmp_path: Path) -> None:
    found = await two_releases(tmp_path).compare(("left:full", "right:full"), 10)
    assert (found.one.coverage, found.one.popularity) == (0.25, 8.0)
    assert (found.other.coverage, found.other.popularity) == (0.1, 4.0)
