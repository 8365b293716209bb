"""What is popular now, by the events at the endpoint."""
