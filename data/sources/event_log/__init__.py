"""The event log: what users did at the endpoint, in Parquet by date."""
