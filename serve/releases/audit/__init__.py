"""Who changed what: the history of operations, and second approvals."""
