"""The way out: the cloud's REST API, typed."""
