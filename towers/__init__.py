"""A user tower and an item tower: model, training, re-ranking, evaluation, checkpoints and sweeps."""
