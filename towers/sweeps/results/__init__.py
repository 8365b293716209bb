"""What a finished sweep leaves for people: the leaderboard and its plots."""
