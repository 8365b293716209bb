"""The release gate: what a draft must hold, on its own and beside the live release, before it becomes a release."""
