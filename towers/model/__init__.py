"""The two towers: features, history encoders, embedding tables, spectral start and smoothing."""
