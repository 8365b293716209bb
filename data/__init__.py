"""Raw logs to a prepared dataset: sources, vocabularies, splits, and the batches that training reads."""
