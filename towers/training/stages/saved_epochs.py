"""What an earlier run has saved of a training that is about to begin."""

from data.artifacts.folders import Folder
from data.cluster.code_digest import CODE
from data.cluster.console import ProgressReporter
from data.cluster.ray_compatibility.train import saved_metrics


def look_at_saved(folder: Folder, code: str, epochs: int, progress: ProgressReporter) -> None:
    """Says so where the saved epochs that a training goes on from are of other code, and removes them if too many.

    The epochs of a final fit are those of the measured training, which may have been trained again since.

    Args:
        folder: where they are saved; the caller holds the lock of the training.
        code: digest of the code that goes on.
        epochs: the number of epochs that the training is to have.

    Raises:
        DamagedFile: the list of what was saved is damaged.
    """
    saved = saved_metrics(folder)
    if saved is None:
        return
    num_saved = int(saved.get("epoch", 0))
    if num_saved > epochs:
        progress(
            f"train: {folder.name} has {num_saved} epochs saved, is to have {epochs}, and is trained from the start"
        )
        folder.delete()
    elif saved.get(CODE) != code:
        progress(
            f"train: {folder.name} goes on from {num_saved} epoch(s) that another version of the code or its libraries"
            f" has trained; remove {folder} to train from the start"
        )
