"""Training state saved after each epoch, from which a killed run resumes and ends with the same weights."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from data.artifacts.json_text import json_text
from towers.checkpoint.tensor_files import save_file
from towers.training.epochs.finite import largest_magnitude
from towers.training.optimizer import Optimizers

STATE = "state.json"
"""The file that is written last: a folder without it is incomplete."""


@dataclass(slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs that are complete.
        best_epoch: the epoch with the best validation value so far; without a validation part, or where the towers know
            none of its users, the latest one.
        best_value: its value of `train.monitor`; None without a validation part.
        seconds: time spent in training steps, without validation and saving.
        examples: number of positives trained on, over all epochs.
        code: digest of the code that has trained the epochs (data/cluster/code_digest.py), MIXED where several have;
            None where an earlier version, which did not write it, saved them.
        tracked: what tells this training's W&B run from those of earlier trainings of the same name; None where an
            earlier version has begun it.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    seconds: float = 0.0
    examples: int = 0
    code: str | None = None
    tracked: str | None = None


def save_progress(
    folder: Path, progress: Progress, model: nn.Module, optimizers: Optimizers, best: dict[str, Tensor]
) -> None:
    """Writes the weights, the optimizers' state and the best weights as safetensors, then `state.json`.

    Random state is not saved: every epoch draws from generators seeded by (seed, epoch).

    Args:
        best: weights of the best epoch so far.
    """
    save_file(_contiguous(model.state_dict()), folder / "model.safetensors")
    save_file(_contiguous(best), folder / "best.safetensors")
    save_file(_contiguous(optimizers.state()), folder / "optimizer.safetensors")
    (folder / STATE).write_text(json_text(asdict(progress)))


def load_progress(folder: Path, model: nn.Module, optimizers: Optimizers) -> tuple[Progress, dict[str, Tensor]] | None:
    """Restores model and optimizers in place; returns the progress and the best weights.

    Returns None, and changes nothing, where the folder is incomplete, has the weights of an earlier version's model, or
    holds numbers that are not finite: training would go on with them, and end with nothing.
    """
    if not (folder / STATE).exists():
        return None
    names = ("model.safetensors", "optimizer.safetensors", "best.safetensors")
    weights, state, best = (safetensors.torch.load_file(folder / name) for name in names)
    if weights.keys() != model.state_dict().keys():
        return None
    if not largest_magnitude([*weights.values(), *state.values(), *best.values()]).isfinite():
        return None
    model.load_state_dict(weights)
    optimizers.load_state(state)
    return Progress(**json.loads((folder / STATE).read_text())), best


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
