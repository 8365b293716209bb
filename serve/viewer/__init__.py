"""The page where people look at answers: its views, and what they read of the endpoint, the releases and the metrics.

It runs in a process of its own (`python -m serve.page`), and needs the extra `page` of this distribution.
"""
