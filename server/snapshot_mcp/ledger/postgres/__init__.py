"""What replicas share, in PostgreSQL: the ledger, who lives, whose turn it is, the cloud's limit.

Nothing here is loaded unless SNAPSHOT_MCP_DATABASE_URL is set.
"""
