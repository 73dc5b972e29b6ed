"""Transports: how clients reach the server."""
