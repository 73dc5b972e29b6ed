"""This server, with a rate limit that a measurement does not reach.

The cloud accepts 500 requests a minute and the server respects that, so 500 calls in a row would
measure waiting. Everything else is unchanged, and the cost of counting requests is still measured.
Cold starts do not use this module.
"""

import sys
from functools import partial
from unittest.mock import patch

from snapshot_mcp.cli.main import main
from snapshot_mcp.cloud import scheduler
from snapshot_mcp.cloud.rate_limit import LocalRateLimiter

UNREACHABLE_LIMIT = 1_000_000_000

if __name__ == "__main__":
    rate_limiter = partial(LocalRateLimiter, requests_per_minute=UNREACHABLE_LIMIT)
    with patch.object(scheduler, "LocalRateLimiter", rate_limiter):
        sys.exit(main())
