"""The command `twotower`, and how an installed distribution finds its own packages first."""
