"""The costs of a restore: its price, and warnings about credit, stock and contract."""

from collections.abc import Iterator, Mapping

from snapshot_mcp.core.sanitize import cell_text, quoted
from snapshot_mcp.models.cloud import Flavor
from snapshot_mcp.models.costs import CURRENCY, Contract, Discount, RestoreCosts

MIN_CREDIT_HOURS = 24
"""A plan warns if the credit pays for fewer hours of the new VM."""


def estimate_price_per_hour(flavor: Flavor | None, prices: Mapping[str, float]) -> float | None:
    """Estimate the price from the GPUs, or else from vCPUs and memory; None without a price.

    Source: resource names of the price list in the vendor's recorded replies.
    """
    if flavor is None:
        return None
    if flavor.gpu and flavor.gpu_count:
        gpu = prices.get(flavor.gpu)
        return None if gpu is None else round(gpu * flavor.gpu_count, 4)
    cpu, memory = prices.get("vCPU"), prices.get("RAM")
    if None in (cpu, memory, flavor.cpu, flavor.ram):
        return None
    return round((cpu or 0) * (flavor.cpu or 0) + (memory or 0) * (flavor.ram or 0), 4)


def free_gpus(flavor: Flavor | None, region: str | None, costs: RestoreCosts) -> int | None:
    """Return the number of free GPUs of the flavor's model in the region; None if unknown."""
    if flavor is None or not flavor.gpu or not region:
        return None
    return costs.stock.get((region, flavor.gpu))


def describe_contract(costs: RestoreCosts) -> str:
    """Describe the contract of the new VM in a few words."""
    if costs.contract_id is None:
        return "none, billed on demand"
    contract = costs.contract
    if contract is None:
        problem = "which does not exist" if costs.contract_missing else "details not known"
        return f"{costs.contract_id}, {problem}"
    end = f", until {contract.ends_at:%Y-%m-%d}" if contract.ends_at else ""
    discounts = "".join(
        f", {discount.percent:g} % off {cell_text(discount.resource)}"
        for discount in contract.discounts
        if discount.percent
    )
    return f"{contract.id} {quoted(contract.description)}{end}{discounts}"


def cost_warnings(flavor: Flavor | None, region: str | None, costs: RestoreCosts) -> Iterator[str]:
    """Yield the reasons for caution about the costs of a restore, or why it may be refused."""
    yield from _contract_warnings(flavor, costs)
    free, needed = free_gpus(flavor, region, costs), (flavor.gpu_count if flavor else None) or 1
    if free is not None and free < needed:
        yield (
            f"The VM needs {needed} GPU{'s' if needed > 1 else ''}, and {free} of that model are"
            " free in its region now: the cloud may refuse the restore."
        )
    yield from _credit_warnings(estimate_price_per_hour(flavor, costs.prices), costs)


def _contract_warnings(flavor: Flavor | None, costs: RestoreCosts) -> Iterator[str]:
    number, contract = costs.contract_id, costs.contract
    if costs.contract_missing:
        yield f"The account has no contract {number}: the cloud would bill the VM on demand."
    if contract is None:
        return
    if contract.status.casefold() not in ("active", ""):
        yield f"Contract {number} is {cell_text(contract.status)}, not active."
    discount = _gpu_discount(flavor, contract)
    needed = (flavor.gpu_count if flavor else None) or 1
    if discount and discount.remaining is not None and discount.remaining < needed:
        yield (
            f"Contract {number} covers {discount.remaining} more of this GPU, and the VM needs"
            f" {needed}: the rest is billed on demand."
        )


def _gpu_discount(flavor: Flavor | None, contract: Contract) -> Discount | None:
    if flavor is None or not flavor.gpu:
        return None
    return next((entry for entry in contract.discounts if entry.resource == flavor.gpu), None)


def _credit_warnings(price: float | None, costs: RestoreCosts) -> Iterator[str]:
    credit = costs.credit
    if credit is None:
        return
    amount = f"{credit.amount:.2f} {CURRENCY}"
    if credit.can_create_vm is False:
        yield f"The credit ({amount}) does not allow new VMs: the cloud refuses the restore."
    elif price and credit.amount < price * MIN_CREDIT_HOURS:
        hours = max(0, int(credit.amount / price))
        yield f"The credit ({amount}) pays for about {hours} hours of this VM alone."
