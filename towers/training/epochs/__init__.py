"""What happens in an epoch of a training worker: its steps, its validation, and the watch over finite numbers."""
