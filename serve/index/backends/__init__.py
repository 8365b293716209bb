"""The index back ends: one file for each value of `index.kind`."""
