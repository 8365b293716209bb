"""How a feature column is read, encoded and filtered: one module per kind, registered under the name that yaml uses."""
