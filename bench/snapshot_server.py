"""Our server, with a limit of requests that a measurement does not reach.

The cloud takes 500 requests a minute and the server keeps to it, so that 500 calls in a row would
measure the waiting. All else is as it ships; the bookkeeping of the limit is done and measured too.
Cold starts are measured without this.
"""

import sys
from functools import partial

from snapshot_mcp.cli.main import main
from snapshot_mcp.cloud import rate_limit as allowance
from snapshot_mcp.cloud import scheduler as traffic

OUT_OF_REACH = 1_000_000_000

if __name__ == "__main__":
    setattr(  # noqa: B010 - a class is replaced by its like
        traffic,
        "OwnAllowance",
        partial(allowance.LocalRateLimiter, requests_per_minute=OUT_OF_REACH),
    )
    sys.exit(main())
