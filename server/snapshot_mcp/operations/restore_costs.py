"""Read the facts about the costs of a restore. Each of them is optional."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.core.errors import CloudError, NotFoundError, ProtocolError
from snapshot_mcp.models.costs import RestoreCosts

COSTS_TIMEOUT_SECONDS = 5.0
"""A plan does not wait longer for facts that it can do without."""


async def read_prices(reader: CloudReader) -> Mapping[str, float]:
    """Return prices per hour by resource name; an empty mapping if they cannot be read in time."""
    with anyio.move_on_after(COSTS_TIMEOUT_SECONDS):
        try:
            return await reader.billing.get_prices()
        except (CloudError, ProtocolError):
            return {}
    return {}


async def read_restore_costs(reader: CloudReader, contract_id: int | None) -> RestoreCosts:
    """Return prices, credit, stock and the contract, as far as the key may read them."""
    costs = RestoreCosts(contract_id=contract_id)

    async def read(name: str, fetch: Callable[[], Awaitable[object]]) -> None:
        nonlocal costs
        try:
            value = await fetch()
        except NotFoundError:
            if name != "contract":
                return
            name, value = "contract_missing", True
        except (CloudError, ProtocolError):
            return  # the plan says that it is not known
        costs = costs._replace(**{name: value})

    billing = reader.billing
    with anyio.move_on_after(COSTS_TIMEOUT_SECONDS):
        async with anyio.create_task_group() as group:
            group.start_soon(read, "prices", billing.get_prices)
            group.start_soon(read, "credit", billing.get_credit)
            group.start_soon(read, "stock", billing.get_gpu_stock)
            if contract_id is not None:
                group.start_soon(read, "contract", partial(billing.get_contract, contract_id))
    return costs
