"""Presentation of reports and comparisons: tables, plots, and the copy for experiment tracking."""
