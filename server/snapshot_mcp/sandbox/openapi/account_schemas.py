"""Schemas of stocks, prices, contracts, costs and permissions, for the OpenAPI document."""

from typing import Annotated, Literal

from pydantic import Field

from snapshot_mcp.sandbox.openapi.schemas import Count, Id, StrictModel, Time


class Stock(StrictModel):
    """The number of available GPUs of a model, in total and by configuration."""

    model: str
    available: Annotated[str, Field(pattern=r"^\d+$")]
    planned_7_days: None
    planned_30_days: None
    planned_100_days: None
    configurations: dict[Literal["1x", "2x", "4x", "8x", "10x"], int]


class RegionStock(StrictModel):
    """The available GPUs of a region."""

    region: str
    stock_type: Annotated[Literal["GPU"], Field(alias="stock-type")]
    models: list[Stock]


class Discount(StrictModel):
    """The discount of a contract for one resource."""

    id: Id
    resource_id: Id
    resource_name: str
    resource_count: Count
    discount_type: Literal["percent"]
    discount_code: None
    discount_percent: float
    discount_amount: None
    discount_status: str
    remaining_count: Count


class Contract(StrictModel):
    """A contract."""

    id: Id
    org_id: Id
    description: str
    start_date: Time
    end_date: Time
    expiration_policy: Literal[0, 1]
    status: str
    created_at: Time
    discounts: list[Discount]


class GpuCount(StrictModel):
    """The number of GPUs in use at a time."""

    datetime: Time
    value: Count


class GpuAllocation(StrictModel):
    """The GPUs of a contract that were used in a period; the granularity in seconds."""

    id: str
    org_id: Id
    status: str
    granularity: Count
    total_gpu_allocation: Count
    allocated_gpu_count_graph: list[GpuCount]


class CostAttributes(StrictModel):
    """The snapshot that a cost refers to: `infrahub_id` is its id."""

    id: str
    infrahub_id: Id
    resource_name: str
    status: str
    contract_id: None


class CostMetrics(StrictModel):
    """A cost in US dollars; usage_time in seconds."""

    incurred_bill: float
    price_per_hour: float
    usage_time: Count


class SnapshotCost(StrictModel):
    """The cost of a snapshot in a period."""

    attributes: CostAttributes
    metrics: CostMetrics


class Permission(StrictModel):
    """A permission."""

    id: Id
    resource: str
    permission: str


class PricedPart(StrictModel):
    """A part of a resource, and its price per hour in US dollars."""

    name: str
    type: str
    amount: Count
    rate: float
    discounted_rate: float
    price: float
    actual_price: float


class PricedResource(StrictModel):
    """A resource, and its price per hour in US dollars."""

    infrahub_id: Id
    name: str
    type: Literal["virtual-machine", "snapshot"]
    status: str
    host: None
    price: float
    actual_price: float
    resources: list[PricedPart]


class Price(StrictModel):
    """A price in US dollars per hour."""

    id: Id
    name: str
    value: Annotated[str, Field(pattern=r"^\d+\.\d{9}$")]
