"""Leave out the slow browser tests, unless SNAPSHOT_MCP_DEEP=1 is set."""

import os

collect_ignore = [] if os.environ.get("SNAPSHOT_MCP_DEEP") else ["test_browser.py"]
