"""Values in yaml, their types in `conf.schema`, and what every entry point shares in `conf.entry`."""
