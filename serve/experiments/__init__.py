"""Experiments: who is in which variant, what was shown, what came of it, and whether a canary does harm."""
