"""Stops a training whose loss, gradient or weights are no longer finite numbers.

Once a weight is NaN or infinite, no later step mends it: every vector, and soon every weight, is lost. A training stops
there, before anything of it is validated or saved, so that the saved states are always sound.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from data.artifacts.errors import UserError
from towers.reranking.config import RerankConfig
from towers.training.config import Precision, TrainConfig
from towers.training.distributed import anywhere, sharded_tables
from towers.training.losses.config import LossConfig

LOOK_EVERY = 50
"""Number of steps after which a GPU is asked whether all was finite. Asking waits for the GPU; on a CPU it is free."""

CAUSES = ("loss", "gradient")
NEVER = 1 << 62


class NotFinite(UserError, ArithmeticError):
    """A loss, a gradient, a weight or a metric is NaN or infinite. The message names the epoch and the cure."""


class FiniteSteps:
    """Remembers, on the device, the first step of an epoch whose loss or gradient is not finite.

    Where tables are sharded, a gradient may be so on one worker alone; all of them remember it then.

    Args:
        model: the module whose gradients are watched.
        device: where the loss and the gradients are.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._parameters = list(model.parameters())
        self._is_sharded = bool(sharded_tables(model))
        self._first_bad = torch.full((len(CAUSES),), NEVER, device=device)
        self._look_every = 1 if device.type == "cpu" else LOOK_EVERY
        self._step = 0

    def watch(self, loss: Tensor) -> None:
        """Looks at a step's loss and gradients, before the optimizers use them.

        Raises:
            NotFinite: those of this or of an earlier step of the epoch were not finite.
        """
        self._step += 1
        gradient = largest_magnitude(p.grad for p in self._parameters).to(loss.device)
        is_bad = ~torch.stack([loss.detach().float(), gradient]).isfinite()
        if self._is_sharded:
            is_bad = anywhere(is_bad)
        self._first_bad.masked_fill_(is_bad & (self._first_bad == NEVER), self._step)
        if self._step % self._look_every == 0:
            self.look()

    def look(self) -> None:
        """Raises NotFinite if a step of the epoch had a loss or a gradient that was not finite."""
        first_bad = self._first_bad.tolist()
        if (step := min(first_bad)) != NEVER:
            raise NotFinite(f"step {step}: the {CAUSES[first_bad.index(step)]} is not finite")


def largest_magnitude(tensors: Iterable[Tensor | None]) -> Tensor:
    """The largest absolute value in all these tensors, sparse ones too; NaN if any value is NaN, 0 without tensors.

    The sum of squares would overflow for gradients that are large but finite. Whole numbers, such as the batches that a
    BatchNorm has counted, are always finite and do not count.
    """
    values = [t._values() if t.is_sparse else t for t in tensors if t is not None]
    values = [v for v in values if v.numel() and v.is_floating_point()]
    if not values:
        return torch.zeros(())
    return torch.stack(torch._foreach_norm(values, torch.inf)).amax().float()


def check_weights(model: nn.Module) -> None:
    """Raises NotFinite if a weight is not finite: the last step's, which no later loss shows.

    Where tables are sharded, all workers must call this together, and all raise if one of them would.
    """
    named = [(name, weight.detach()) for name, weight in model.named_parameters()]
    is_bad = torch.stack([~largest_magnitude([weight]).to(named[0][1].device).isfinite() for _, weight in named])
    if sharded_tables(model):
        is_bad = anywhere(is_bad)
    for (name, _), bad in zip(named, is_bad.tolist(), strict=True):
        if bad:
            raise NotFinite(f"the weight {name} is not finite after its last step")


def cure(train: TrainConfig, loss: LossConfig) -> str:
    """What to change, with the values that led to numbers that are not finite."""
    settings = [f"a lower train.learning_rate than {train.learning_rate}"]
    settings.append(f"a higher loss.temperature than {loss.temperature}")
    if loss.kind == "bilateral":
        settings.append(f"loss.exponent nearer 1 than {loss.exponent}")
    if train.precision is Precision.bfloat16:
        settings.append("train.precision=float32")
    return f"training stopped, and nothing of this epoch is kept; try {', or '.join(settings)}"


@contextmanager
def fitting_reranker(at: str, config: RerankConfig) -> Iterator[None]:
    """Adds to a NotFinite that the block raises where it was, and what to change.

    Args:
        at: the part that is fitted, and the epoch, such as "re-ranker, epoch 2".
    """
    try:
        yield
    except NotFinite as e:
        raise NotFinite(
            f"{at}, {e}: the re-ranker is not fitted, and the towers' training is kept; try a lower"
            f" rerank.learning_rate than {config.learning_rate}"
        ) from e
