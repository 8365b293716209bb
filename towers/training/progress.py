"""Training state between epochs: what a killed run needs to end as if it had not been killed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from towers.training.optimizer import Optimizers

STATE = "state.json"


@dataclass(slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs done.
        best_epoch, best_value: the epoch with the best validation value so far; the last one, and None, where there is
            no validation part.
        seconds: time spent in training steps alone.
        examples: positives trained on.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    seconds: float = 0.0
    examples: int = 0


def save_progress(
    folder: Path, progress: Progress, model: nn.Module, optimizers: Optimizers, best: dict[str, Tensor]
) -> None:
    """Writes model, optimizer and best weights as safetensors; `state.json`, written last, makes them whole.

    Random state needs no saving: every epoch draws from generators seeded by (seed, epoch).
    """
    safetensors.torch.save_file(_contiguous(model.state_dict()), folder / "model.safetensors")
    safetensors.torch.save_file(_contiguous(best), folder / "best.safetensors")
    safetensors.torch.save_file(_contiguous(optimizers.state()), folder / "optimizer.safetensors")
    (folder / STATE).write_text(json.dumps(asdict(progress)))


def load_progress(folder: Path, model: nn.Module, optimizers: Optimizers) -> tuple[Progress, dict[str, Tensor]] | None:
    """Restores model and optimizers in place; None, touching nothing, where the folder is not whole."""
    if not (folder / STATE).exists():
        return None
    model.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    optimizers.load_state(safetensors.torch.load_file(folder / "optimizer.safetensors"))
    best = safetensors.torch.load_file(folder / "best.safetensors")
    return Progress(**json.loads((folder / STATE).read_text())), best


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
