"""Training with Ray Train: config, workers, the loop, losses, negatives, optimizers and tracking."""
