"""Streamable HTTP for more than one person: who calls, what they may, and how often.

Only `serve --transport http` loads it.
"""
