"""The embedded cloud: the snapshots REST API on SQLite, for work without an API key.

It persists, enforces the cloud's rules and serves any HTTP client; it is not a mock.
"""
