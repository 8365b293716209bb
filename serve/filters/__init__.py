"""Typed filters on item features: the grammar, Milvus expressions and masks."""
