"""One request through its stages: user encoder, retriever, re-ranker, fallback, deadline and breakers."""
