"""What is kept on disk: folders on any filesystem, seals, locks, and config values as JSON."""
