"""The panel in a real browser takes Chromium and a minute: SNAPSHOT_MCP_DEEP=1 asks for it."""

import os

collect_ignore = [] if os.environ.get("SNAPSHOT_MCP_DEEP") else ["test_browser.py"]
