"""Trained models as sealed folders: weights, vocabularies and lineage, and batch embedding."""
