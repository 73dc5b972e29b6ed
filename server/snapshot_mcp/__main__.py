"""`python -m snapshot_mcp` is the command `snapshot-mcp`."""

import sys

from snapshot_mcp.cli import main

sys.exit(main())
