"""The re-ranker: its model, the context of a request, and calibration."""
