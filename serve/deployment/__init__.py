"""Ray Serve deployments: the ingress, the stages, their settings, and the running endpoint."""
