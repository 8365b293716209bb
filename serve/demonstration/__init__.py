"""What `serve.demo` does: from a log to a release that is live, and example requests to its endpoint."""
