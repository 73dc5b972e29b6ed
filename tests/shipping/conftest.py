"""What users install, as they install it. It takes minutes, so SNAPSHOT_MCP_DEEP=1 asks for it."""

import os

collect_ignore = [] if os.environ.get("SNAPSHOT_MCP_DEEP") else ["test_bundle.py", "test_wheel.py"]
