"""The Ray session that commands work in, and what is changed about Ray."""
