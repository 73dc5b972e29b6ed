"""What snapshots cost, as an estimate: the cloud publishes no price for them."""

PRICE_PER_GB_HOUR = 0.0000967742
"""Source: billing examples of the vendor, if what they bill had 4 GB: an inference."""

HOURS_PER_MONTH = 744
"""31 days, which makes the price above a round one: 0.072 a GB and month."""


def estimate_monthly_cost(gigabytes: int) -> float:
    """The estimated price of so many GB in a month, in the cloud's currency."""
    return round(gigabytes * PRICE_PER_GB_HOUR * HOURS_PER_MONTH, 2)
