"""Events and users over HTTP and gRPC: their JSON, the reading of batches, and the sender of the client."""
