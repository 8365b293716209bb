"""The endpoint's interface: schemas, gRPC, limits, the adapter between ids and rows, and rendering."""
