"""The metrics of the endpoint in the last hour, as the page keeps them."""
