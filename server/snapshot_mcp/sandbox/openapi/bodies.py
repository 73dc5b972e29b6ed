"""Bodies of requests and responses, for the OpenAPI document.

`request` parses the request bodies. `handlers` builds the response bodies and names the sources.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from snapshot_mcp.sandbox.openapi import account_schemas, schemas
from snapshot_mcp.sandbox.openapi.schemas import OMITTED, Count, Id, StrictModel

Labels = Annotated[list[str] | None, Field(description="null has the same meaning as omitting it")]


class CreateSnapshot(StrictModel):
    """The new snapshot; its name must not be taken."""

    name: Annotated[schemas.Name, Field(examples=["before the upgrade"])]
    description: Annotated[str, Field(examples=["Drivers as they were"])]
    labels: Annotated[Labels, Field(examples=[["keep"]])] = OMITTED


class RestoreSnapshot(StrictModel):
    """The new VM; without a valid contract it is billed on demand."""

    new_vm_name: Annotated[schemas.Name, Field(examples=["training-box-2"])]
    contract_id: Annotated[int | None, Field(examples=[77])] = OMITTED


class CreateImage(StrictModel):
    """The new image; its name must not be taken."""

    name: Annotated[schemas.Name, Field(examples=["base-image"])]
    labels: Annotated[Labels, Field(examples=[["base"]])] = OMITTED


class EditLabels(StrictModel):
    """The new labels of a VM."""

    labels: Annotated[Labels, Field(examples=[["prod"]])] = OMITTED


class CreateVms(StrictModel):
    """The new VMs; several get numbered names."""

    name: Annotated[schemas.Name, Field(examples=["made-from-image"])]
    environment_name: Annotated[str, Field(examples=["ml-canada"])]
    image_name: Annotated[str, Field(examples=["Ubuntu Server 24.04 LTS"])]
    flavor_name: Annotated[str, Field(examples=["n3-A100x1"])]
    key_name: Annotated[str, Field(examples=["team-ml-canada"])]
    count: Annotated[int, Field(ge=1, le=20, examples=[1])]
    labels: Annotated[Labels, Field(examples=[["prod"]])] = OMITTED


class ResizeVm(StrictModel):
    """The new flavor of a VM."""

    flavor_name: Annotated[str, Field(examples=["n1-cpu-medium"])]


class ToggleEnhancedMetrics(StrictModel):
    """Whether to collect enhanced metrics of a VM."""

    enabled: bool


class AttachFirewalls(StrictModel):
    """The firewalls of a VM; the embedded cloud has none."""

    firewalls: Annotated[list[int], Field(examples=[[]])]


class CreateSecurityRule(StrictModel):
    """A new firewall rule of a VM."""

    direction: Annotated[str, Field(examples=["ingress"])]
    ethertype: Annotated[str, Field(examples=["IPv4"])]
    protocol: Annotated[str, Field(examples=["tcp"])]
    remote_ip_prefix: Annotated[str, Field(examples=["198.51.100.0/24"])]
    port_range_min: Annotated[int | None, Field(examples=[22])] = OMITTED
    port_range_max: Annotated[int | None, Field(examples=[22])] = OMITTED


class RequestLogs(StrictModel):
    """A request for the console log of a VM."""

    length: Annotated[int | None, Field(examples=[100])] = OMITTED


class CreateEnvironment(StrictModel):
    """A new environment in a region."""

    name: Annotated[schemas.Name, Field(examples=["staging"])]
    region: Annotated[str, Field(examples=["US-1"])]


class UpdateEnvironment(StrictModel):
    """The new name of an environment."""

    name: Annotated[schemas.Name, Field(examples=["ml-oslo"])]


class Done(StrictModel):
    """The operation has succeeded or started."""

    status: Literal[True]
    message: str


class _List(Done):
    page: Annotated[int | None, Field(description="null if no page was requested")]
    page_size: Annotated[int | None, Field(description="null if no page was requested")]
    count: Annotated[Count, Field(description="of all matches, on every page")]


class SnapshotList(_List):
    """Snapshots, newest first."""

    snapshots: list[schemas.WholeSnapshot]


class SnapshotRead(StrictModel):
    """One snapshot."""

    status: Literal[200]
    message: str
    snapshot: schemas.WholeSnapshot


class SnapshotBegun(Done):
    """The snapshot that is being created."""

    snapshot: schemas.NewSnapshot


class _Event(StrictModel):
    id: Id
    user_id: Id
    org_id: Id
    time: schemas.Time
    type: str
    reason: str
    message: str


class SnapshotEvent(_Event):
    """An event of a snapshot."""

    snapshot_id: Id
    object: Literal["snapshot"]


class InstanceEvent(_Event):
    """An event of a VM."""

    instance_id: Id
    object: Literal["virtual_machine"]


class SnapshotEvents(Done):
    """The events of a snapshot, newest first."""

    snapshot_events: list[SnapshotEvent]


class ContractError(StrictModel):
    """The reason for which the new VM is billed on demand."""

    contract: str


class SnapshotRestored(Done):
    """The new VM, as a list of one."""

    instances: Annotated[list[schemas.Instance], Field(min_length=1, max_length=1)]
    errors: ContractError = OMITTED


class ImageMade(Done):
    """The new image."""

    image: schemas.CustomImage


class NameAvailability(StrictModel):
    """The availability of a name."""

    name: schemas.Name
    available: bool
    message: str


class InstanceList(_List):
    """VMs, oldest first."""

    instances: list[schemas.Instance]


class InstanceRead(Done):
    """One VM."""

    instance: schemas.Instance


class InstanceEvents(Done):
    """The events of a VM, newest first."""

    instance_events: list[InstanceEvent]


class RegionList(Done):
    """The regions."""

    regions: list[schemas.Region]


class EnvironmentList(_List):
    """The environments."""

    environments: list[schemas.Environment]


class ImageList(Done):
    """The images, grouped by region and operating system."""

    images: list[schemas.ImageGroup]


class ContractInstances(Done):
    """VMs of a contract, oldest first."""

    instances: list[schemas.ContractVm]


class VmsCreated(Done):
    """The new VMs."""

    instances: list[schemas.Instance]


class EnhancedMetricsChanged(Done):
    """The new setting of a VM."""

    install_command: None
    metrics: schemas.EnhancedMetrics


class SecurityRuleCreated(Done):
    """The new firewall rule."""

    security_rule: schemas.SecurityRule


class LogsRequested(StrictModel):
    """The number with which the log can be read."""

    request_id: Id


class Logs(StrictModel):
    """A console log."""

    logs: str


class Metric(StrictModel):
    """One metric of a VM."""

    columns: list[str]
    unit: str
    data: Annotated[list[Any], Field(max_length=0)]


class Metrics(RootModel[dict[str, Metric]]):
    """The metrics of a VM."""


class EnvironmentRead(Done):
    """One environment."""

    environment: schemas.Environment


class VmQuota(Done):
    """The number of VMs that an environment has and can have."""

    cidr: str
    current_vms: Count
    max_vms: Count
    available_vms: int
    percentage_used: float


class FlavorList(Done):
    """The flavors, grouped by region and GPU."""

    data: list[schemas.FlavorGroup]


class PermissionList(Done):
    """The permissions of the user."""

    permissions: list[account_schemas.Permission]


class CalculatedBills(StrictModel):
    """The price of a resource."""

    org_id: Id
    resource: account_schemas.PricedResource


class ResourcePrice(Done):
    """The price of a resource."""

    calculated_resource_bills: CalculatedBills


class ImageRead(StrictModel):
    """One image."""

    image: schemas.ReadImage


class Stocks(StrictModel):
    """The available GPUs of each region."""

    stocks: list[account_schemas.RegionStock]


class CreditFields(StrictModel):
    """The credit of the account in US dollars."""

    credit: float
    threshold: float
    can_create_instance: bool


class Credit(Done):
    """The credit of the account."""

    data: CreditFields


class ContractList(Done):
    """The contracts of the account."""

    contracts: list[account_schemas.Contract]
    count: Count


class ContractRead(Done):
    """One contract."""

    contracts: account_schemas.Contract


class ContractGpuAllocation(Done):
    """The GPUs of a contract that were used in a period."""

    contract: account_schemas.GpuAllocation


class Pagination(StrictModel):
    """The page, and the number of pages."""

    page: int
    pages: int
    per_page: int


class BillingHistory(StrictModel):
    """The cost of each snapshot in a period."""

    org_id: Id
    billing_history: list[account_schemas.SnapshotCost]
    total_count: Count
    pagination: Pagination


class SnapshotBillingHistory(Done):
    """The cost of the account's snapshots."""

    billing_history_snapshot: BillingHistory


class Pricebook(RootModel[list[account_schemas.Price]]):
    """All prices."""


class OpenApiDocument(BaseModel):
    """This document."""

    model_config = ConfigDict(extra="allow")

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
