"""Bringing a release live: promotion, two-phase switch, heartbeats, the follower, the denylist and the guard."""
