"""Which checkpoint somebody names, and the prepared dataset that it was trained on."""

from data.artifacts.folders import Folder
from data.artifacts.seals import NotSealed, is_sealed, named_in
from data.artifacts.secrets import recordable
from data.cluster.typed_commands import SUMMARY
from data.dataset.config import DataConfig
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.checkpoint.tensor_files import CheckpointError


def checkpoint_at(place: str, storage: Folder) -> Folder:
    """The folder of the checkpoint at a place: its own, or that of the run that made it.

    A script that chooses the folder of a training's run (`hydra.run.dir`) so names its checkpoint without reading what
    was printed.

    Args:
        place: a path or a URI. What lies in the bucket of `storage` is opened by the same options and credentials.

    Raises:
        DamagedFile: the summary of the run holds no JSON.
    """
    folder = named_in(storage, place)
    if is_sealed(folder) or not folder.exists(SUMMARY):
        return folder
    summary = folder.read_json(SUMMARY)
    made = summary.get("checkpoint") if isinstance(summary, dict) and "training" in summary else None
    return named_in(storage, made) if isinstance(made, str) else folder


def open_named(folder: Folder, storage: Folder, data: DataConfig | None) -> tuple[Checkpoint, PreparedDataset]:
    """Opens a checkpoint, and the prepared dataset that its manifest names.

    The log is not read, so that it may have grown since.

    Args:
        storage: where a dataset is prepared.
        data: the values of `data` that were given beside the name of the checkpoint. If they are not those that its
            dataset was prepared with, or that is gone, the dataset that they describe is prepared; it must have the
            same content. None where no values were given.

    Raises:
        NotSealed: there is no checkpoint in the folder, or its dataset is gone and no values were given.
        CheckpointError: it is damaged, or was trained on another dataset than `data` describes.
    """
    checkpoint = open_checkpoint(folder)
    of = checkpoint.manifest["dataset"]
    dataset = dataset_of(checkpoint)
    if dataset is not None and (data is None or dataset.manifest.get("config") == recordable(data.as_json())):
        return checkpoint, dataset
    if data is None:
        raise NotSealed(
            f"checkpoint {folder.name}: its dataset is not in {of['folder']} any more; give the data= that it was"
            " trained with, to prepare that again"
        )
    given = prepare(data, storage)
    if given.fingerprint == of["fingerprint"]:
        return checkpoint, given
    cure = f"; its own is not in {of['folder']} any more" if dataset is None else ", or leave data= out"
    raise CheckpointError(
        f"checkpoint {folder.name} was trained on dataset {of['name']} ({of['fingerprint'][:10]}), but data= gives"
        f" {data.name} ({given.fingerprint[:10]}): pass the data= it was trained with{cure}"
    )


def dataset_of(checkpoint: Checkpoint) -> PreparedDataset | None:
    """The dataset that a checkpoint's manifest names; None where it is gone, or another one by now."""
    of = checkpoint.manifest["dataset"]
    try:
        dataset = PreparedDataset.open(named_in(checkpoint.folder, of["folder"]))
    except NotSealed:
        return None
    return dataset if dataset.fingerprint == of["fingerprint"] else None
