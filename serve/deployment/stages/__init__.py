"""The stages of one release: in this process, or in deployments of their own."""
