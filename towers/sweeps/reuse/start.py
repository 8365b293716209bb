"""Which checkpoint a training starts from (`train.start_from`), as names of trainings and records of trials hold it."""

from data.artifacts.errors import UserError
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import is_sealed, named_in


def start_fingerprint(folder: str | None, beside: Folder | None = None) -> str | None:
    """The fingerprint of the checkpoint whose weights a training starts with; None where it is not there, or not yet.

    Args:
        folder: of the checkpoint. From that of a final fit, training starts with the weights of the measured fit before
            it.
        beside: an artifact of the same storage, which the folder may name without the options of a URI.
    """
    if folder is None:
        return None
    try:
        place = named_in(beside, folder)
        if not is_sealed(place):
            return None
        manifest = place.read_json(MANIFEST)
    except (UserError, OSError, ValueError):  # the training is about to fail for the same reason, and says so
        return None
    found: str | None = manifest.get("fingerprint")
    return start_fingerprint(manifest["settled"], place) if manifest.get("settled") else found
