"""The prepared dataset: its schema, vocabularies, splits and catalogues, and how a log becomes one."""
