"""What a platform is told of the stack: node types, Kubernetes manifests, dashboards, and alert rules."""
