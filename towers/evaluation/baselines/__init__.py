"""Baselines: recommenders that any model should beat. The tuned ones have settings chosen on the validation part."""
