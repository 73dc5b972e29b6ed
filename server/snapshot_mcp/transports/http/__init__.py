"""Streamable HTTP for several callers: authentication, scopes and quotas.

Only `serve --transport http` imports this package.
"""
