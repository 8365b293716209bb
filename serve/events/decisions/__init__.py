"""The decision log: what each answer consisted of, and why, recorded by the replicas and kept for a while."""
