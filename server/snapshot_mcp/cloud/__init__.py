"""A typed client of the cloud's REST API."""
