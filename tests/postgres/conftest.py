"""A real PostgreSQL takes a while to start, so SNAPSHOT_MCP_DEEP=1 asks for these tests."""

import os

collect_ignore = [] if os.environ.get("SNAPSHOT_MCP_DEEP") else ["test_shared_ledger.py"]
