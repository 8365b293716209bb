"""Kubernetes manifests: the endpoint and the training as KubeRay runs them, and what stands around them."""
