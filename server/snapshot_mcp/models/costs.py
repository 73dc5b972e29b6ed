"""Models of the account's costs: credit, contracts, and the facts about the price of a restore."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

CURRENCY = "USD"
"""Source: the vendor's API reference gives the credit and payments in dollars. No reply names a
currency."""


class Credit(NamedTuple):
    """The credit of the account.

    Attributes:
        amount: in `CURRENCY`.
        can_create_vm: whether the cloud creates VMs with this credit; None if unknown.
    """

    amount: float
    can_create_vm: bool | None


class Discount(NamedTuple):
    """A discount of a contract.

    Attributes:
        resource: name of the resource, such as a GPU model.
        percent: the reduction of the price; None if it is not a percentage.
        remaining: number of resources that the contract still covers; None if unknown.
    """

    resource: str
    percent: float | None
    remaining: int | None


class Contract(NamedTuple):
    """A contract of the account.

    Attributes:
        id: its id.
        description: its purpose; may be empty.
        status: reported by the cloud, such as "active"; may be empty.
        ends_at: when it ends; None if unknown.
        discounts: its readable discounts.
    """

    id: int
    description: str
    status: str
    ends_at: datetime | None
    discounts: tuple[Discount, ...]


class RestoreCosts(NamedTuple):
    """The facts about the costs of a restore. A fact that could not be read is None or empty.

    Attributes:
        prices: prices per hour in `CURRENCY` by resource name.
        credit: the credit of the account.
        stock: number of free GPUs by region and model.
        contract_id: the contract of the new VM; None to bill it on demand.
        contract: that contract.
        contract_missing: whether the cloud has no contract with that id.
    """

    prices: Mapping[str, float] = {}
    credit: Credit | None = None
    stock: Mapping[tuple[str, str], int] = {}
    contract_id: int | None = None
    contract: Contract | None = None
    contract_missing: bool = False
