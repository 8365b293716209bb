"""Optimizers: Adam for weights that every step updates, a row-wise Adam for tables of which a step touches a few rows.

Shape legend: N rows of a table, R rows touched by a step, D dimension.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
ROW_STATE = ("mean", "square")
"""What RowAdam remembers of each row of a table."""

FINAL_SHARE = 0.02
"""Share of the learning rate that a linear schedule ends at."""


class RowAdam(Optimizer):
    """Adam (Kingma & Ba 2015) on the rows that a sparse gradient names, with one second moment per row.

    A row without a gradient costs nothing and does not change. The mean square over a row's D entries takes the place
    of D second moments, as in row-wise Adagrad (Gupta et al. 2014). Bias correction counts all steps, not those in
    which a row had a gradient.
    """

    def __init__(self, tables: Iterable[Tensor], lr: float) -> None:
        super().__init__(tables, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates each table by its sparse gradient [N, D]."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._step(table, table.grad.coalesce(), group["lr"])

    def _step(self, table: nn.Parameter, gradient: Tensor, lr: float) -> None:
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(table)
            state["square"] = table.new_zeros(len(table), 1)
        state["step"] += 1
        steps = state["step"].item()
        rows_R, gradient_RD = gradient.indices()[0], gradient.values()
        mean_RD = state["mean"].index_select(0, rows_R).lerp_(gradient_RD, 1 - BETA1)
        square_R1 = state["square"].index_select(0, rows_R)
        square_R1.lerp_(gradient_RD.square().mean(1, keepdim=True), 1 - BETA2)
        state["mean"].index_copy_(0, rows_R, mean_RD)
        state["square"].index_copy_(0, rows_R, square_R1)
        scale_R1 = (square_R1 / (1 - BETA2**steps)).sqrt_().add_(EPSILON).reciprocal_()
        table.index_add_(0, rows_R, mean_RD.mul_(scale_R1), alpha=-lr / (1 - BETA1**steps))


class Optimizers:
    """All of a model's optimizers as one: RowAdam for the tables with sparse gradients, Adam for the rest.

    The tables are those of ids and of feature values. They have no weight decay, which would change every row at every
    step.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float) -> None:
        sparse = [m.weight for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.sparse]
        known = set(map(id, sparse))
        dense = [p for p in model.parameters() if id(p) not in known]
        self._lr = lr
        self._all: list[Optimizer] = []
        if sparse:
            self._all.append(RowAdam(sparse, lr))
        if dense:
            self._all.append(Adam(dense, lr=lr, weight_decay=weight_decay, fused=True))

    def scale_learning_rate(self, share: float) -> None:
        """Sets the learning rate of the next steps to this share of the configured one."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = self._lr * share

    def zero_grad(self) -> None:
        """Drops all gradients."""
        for optimizer in self._all:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Updates all weights that have a gradient."""
        for optimizer in self._all:
            optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """The state of all optimizers as one flat mapping, by "<optimizer>.<parameter>.<name>"."""
        return {
            f"{number}.{index}.{name}": value
            for number, optimizer in enumerate(self._all)
            for index, values in optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }

    def row_state(self) -> dict[str, nn.Parameter]:
        """The keys of `state` whose tensors have a row for each row of a table, each with that table."""
        return {
            f"{number}.{index}.{name}": table
            for number, optimizer in enumerate(self._all)
            if isinstance(optimizer, RowAdam)
            for index, table in enumerate(optimizer.param_groups[0]["params"])
            for name in ROW_STATE
        }

    def load_state(self, flat: dict[str, Tensor]) -> None:
        """Restores what `state` returned."""
        nested: list[dict[int, dict[str, Any]]] = [{} for _ in self._all]
        for key, value in flat.items():
            number, index, name = key.split(".", 2)
            nested[int(number)].setdefault(int(index), {})[name] = value
        for optimizer, state in zip(self._all, nested, strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def linear_decay(done: float) -> float:
    """The share of the learning rate after a share `done` of all steps: falls linearly from 1 down to FINAL_SHARE."""
    return max(1 - done, FINAL_SHARE)
