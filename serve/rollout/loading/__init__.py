"""Loading a release on a replica: the room that it takes, what failed before, and the first one of all."""
