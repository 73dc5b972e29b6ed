"""State that replicas share in PostgreSQL: the ledger, liveness, the change lock, the rate limit.

Nothing here is imported unless SNAPSHOT_MCP_DATABASE_URL is set.
"""
