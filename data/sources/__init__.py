"""Sources read logs in various formats and deliver them in one canonical form, which the survey then checks."""
