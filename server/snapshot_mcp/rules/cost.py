"""Estimated cost of snapshots. The cloud publishes no price for them."""

PRICE_PER_GB_HOUR = 0.0000967742
"""In `models.costs.CURRENCY`. Source: the vendor's billing example of a snapshot of 4 GB."""

HOURS_PER_MONTH = 744
"""31 days. With the price above, a GB costs 0.072 a month."""


def estimate_monthly_cost(gigabytes: int) -> float:
    """Return the estimated price per month, in `models.costs.CURRENCY`."""
    return round(gigabytes * PRICE_PER_GB_HOUR * HOURS_PER_MONTH, 2)
