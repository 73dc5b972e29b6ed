"""The embedded cloud: the snapshots REST API on SQLite, for use without an API key.

It stores its state on disk, enforces the cloud's rules and serves any HTTP client. It is not a
mock.
"""
