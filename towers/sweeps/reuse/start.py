"""Which checkpoint a training starts from (`train.start_from`), as names of trainings and records of trials hold it."""

from data.artifacts.errors import UserError
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import is_sealed


def start_fingerprint(folder: str | None) -> str | None:
    """The fingerprint of the checkpoint whose weights a training starts with; None where it is not there, or not yet.

    Args:
        folder: of the checkpoint. From that of a final fit, training starts with the weights of the measured fit before
            it.
    """
    if folder is None:
        return None
    try:
        place = Folder.of(folder)
        if not is_sealed(place):
            return None
        manifest = place.read_json(MANIFEST)
    except (UserError, OSError, ValueError):  # the training is about to fail for the same reason, and says so
        return None
    found: str | None = manifest.get("fingerprint")
    return start_fingerprint(manifest["settled"]) if manifest.get("settled") else found
