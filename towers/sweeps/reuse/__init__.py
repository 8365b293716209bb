"""Which trials of an earlier launch count as done: those with the same config, log and code."""
