"""Raw logs become prepared datasets: sources, schemas, splits, and the batches that training reads."""
