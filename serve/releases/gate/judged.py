"""Which models the gate compares: what has learned from the held-out interactions cannot be measured on them."""

from dataclasses import dataclass

from data.dataset.prepared import PreparedDataset
from serve.releases.gate.config import GateError
from serve.releases.release import Release
from towers.checkpoint.backtest import has_seen_test, measurable
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.tensor_files import CheckpointError


@dataclass(frozen=True, slots=True)
class Judged:
    """The models that answer the held-out queries.

    Attributes:
        ours: the checkpoint that would become a release, or its backtest.
        live: what is live, or its backtest.
        notes: what a reader should know about the choice.
    """

    ours: Checkpoint
    live: Checkpoint
    notes: tuple[str, ...] = ()


def judged(checkpoint: Checkpoint, live: Release, dataset: PreparedDataset) -> Judged:
    """Takes the backtest of a final fit (`train.fit_on=all`) that has seen the test part of the dataset.

    A refreshed release has the towers of the live one, so both have seen the same and are compared as they are.

    Args:
        dataset: the one of `checkpoint`.

    Raises:
        GateError: the checkpoint's backtest is gone.
    """
    ours, notes = checkpoint, []
    if checkpoint.manifest.get("backtest") and checkpoint.manifest["backtest"] == live.parts.manifest.get("backtest"):
        return Judged(checkpoint, live.parts, ("both have the same towers, which have seen the held-out interactions",))
    if has_seen_test(checkpoint.manifest, dataset):
        try:
            ours = measurable(checkpoint)
        except CheckpointError as e:
            raise GateError(f"{e}; or publish unmeasured with force=true reason='...'") from e
        notes.append(f"compared by the backtest {ours.name}")
    if not has_seen_test(live.parts.manifest, dataset):
        return Judged(ours, live.parts, tuple(notes))
    try:
        theirs = measurable(live.parts)
    except CheckpointError:
        notes.append(f"{live.id} may have seen the held-out interactions, and its backtest is gone: it is favoured")
        return Judged(ours, live.parts, tuple(notes))
    if has_seen_test(theirs.manifest, dataset):  # a live release of another split, or its backtest
        notes.append(f"{live.id} may have seen the held-out interactions, and so has {theirs.name}: it is favoured")
        return Judged(ours, theirs, tuple(notes))
    return Judged(ours, theirs, (*notes, f"{live.id} is compared by its backtest {theirs.name}"))
