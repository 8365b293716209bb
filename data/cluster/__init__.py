"""The Ray session that commands work in, and the patches that this project makes to Ray."""
