"""Changes of an endpoint that runs: what its values are, and what a command keeps of them."""
