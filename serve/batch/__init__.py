"""Batch inference: recommendations for all users."""
