"""Replicas and a real PostgreSQL take minutes, so SNAPSHOT_MCP_DEEP=1 asks for them."""

import os

collect_ignore = [] if os.environ.get("SNAPSHOT_MCP_DEEP") else ["test_replicas.py"]
