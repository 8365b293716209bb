"""What the page reads of releases, without the endpoint."""
