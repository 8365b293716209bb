"""The views of the page, one module each."""

from serve.viewer.viewer import Viewer


def register(viewer: Viewer) -> None:
    """Puts every view at its address."""
    from serve.viewer.views import answers, items, live, releases, side_by_side, sweeps

    for view in (answers, side_by_side, items, releases, live, sweeps):
        view.register(viewer)
