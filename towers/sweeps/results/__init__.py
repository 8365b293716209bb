"""The results of a sweep for people to read: the leaderboard and its plots."""
