"""What the synthetic log says of its users and items: features and titles."""
