"""From raw logs to prepared datasets, and from those to training batches."""
