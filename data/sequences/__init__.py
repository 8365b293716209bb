"""Training input: users' histories, windows over them, and batches."""
