"""The state store in Redis or a Redis cluster."""
