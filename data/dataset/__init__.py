"""The prepared dataset: its tables, vocabularies and splits, and how a log is turned into one."""
