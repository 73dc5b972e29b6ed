"""`python -m snapshot_mcp` is the command `snapshot-mcp`."""

import sys

from snapshot_mcp.cli.main import main

sys.exit(main())
