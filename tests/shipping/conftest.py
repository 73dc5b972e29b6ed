"""Leave the tests that install packages, which take minutes, to SNAPSHOT_MCP_DEEP=1."""

import os

collect_ignore = [] if os.environ.get("SNAPSHOT_MCP_DEEP") else ["test_bundle.py", "test_wheel.py"]
