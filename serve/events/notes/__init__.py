"""What is noted in a state store about itself, for all processes that open it."""
