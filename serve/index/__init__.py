"""The item index: a protocol, an in-memory copy, Milvus search, and the collections behind both."""
