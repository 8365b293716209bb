"""Experiments: assignment of users to variants, exposures, experiment analysis, and canary analysis."""
