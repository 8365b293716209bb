"""A user tower and an item tower: model, losses, training, evaluation, batch embedding."""
