"""The configuration: yaml values, the typed root schema, and the entry point that loads them."""
