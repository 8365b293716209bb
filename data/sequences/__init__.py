"""Training input: users' histories, positions in them, windows over them, and batches."""
