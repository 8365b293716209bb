"""The release gate: what a candidate must hold beside the live release."""
