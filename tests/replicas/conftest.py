"""Replicas and a real PostgreSQL take minutes, so SNAPSHOT_MCP_DEEP=1 asks for them."""

import os

collect_ignore_glob = [] if os.environ.get("SNAPSHOT_MCP_DEEP") else ["test_*.py"]
