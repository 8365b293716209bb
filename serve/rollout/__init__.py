"""Rollout: bringing a release live on running endpoints, and taking it or single items back.

Promotion, the two-phase change of the live pointer, the replicas' heartbeats, the follower in each replica, the
denylist, and the guard over releases on trial.
"""
