"""Events that users cause now: accepted durably, kept as the state of each user, and compacted into the event log."""
