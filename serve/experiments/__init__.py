"""Experiments: who is in which variant, what was shown, and what came of it."""
