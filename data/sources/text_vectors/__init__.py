"""Vectors of the texts of items: how they are made, and the files that they are written to."""
