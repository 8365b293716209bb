"""Rollout: making a release live on running endpoints, and taking releases or single items out of service.

Promotion, the two-phase change of the live pointer, the replicas' heartbeats, the follower in each replica, the
denylist, and the guard over releases on trial.
"""
