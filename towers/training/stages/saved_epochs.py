"""What an earlier run has saved of a training that is about to begin."""

from data.artifacts.folders import Folder
from data.cluster.code_digest import CODE
from data.cluster.console import ProgressReporter
from data.cluster.ray_compatibility.train import saved_metrics


def look_at_saved(folder: Folder, code: str, progress: ProgressReporter) -> None:
    """Says so where the saved epochs that a training goes on from are of other code.

    Args:
        folder: where they are saved.
        code: digest of the code that goes on.

    Raises:
        DamagedFile: the list of what was saved is damaged.
    """
    saved = saved_metrics(folder)
    if saved is not None and saved.get(CODE) != code:
        progress(
            f"train: {folder.name} goes on from {saved.get('epoch')} epoch(s) that another version of the code or its"
            f" libraries has trained; remove {folder} to train from the start"
        )
