"""A lap of the cycle: new events become a dataset, a model, a release on trial, and the live release, or it stops."""
