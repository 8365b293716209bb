"""What all packages build on: folders on any filesystem, sealed folders, config dataclasses, registries and errors."""
