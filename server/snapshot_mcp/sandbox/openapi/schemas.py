"""Schemas of the resources, for the OpenAPI document.

`serializers` and `catalogue` produce the resources and name the sources. The name of a class is the
name of its component in the document, and its docstring is the description.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from snapshot_mcp.sandbox.request import MAX_ID, MAX_NAME_LENGTH, NAME_PATTERN

_TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}"

Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=NAME_PATTERN)]
Time = Annotated[
    str, Field(pattern=_TIME_PATTERN + "Z$", json_schema_extra={"format": "date-time"})
]
# A field with this default may be omitted, but may not be null.
OMITTED: Any = None


class StrictModel(BaseModel):
    """A model without additional properties."""

    model_config = ConfigDict(extra="forbid")


class Label(StrictModel):
    """A label with an id."""

    id: Id
    label: str


class RegionFeatures(StrictModel):
    """The features of a region."""

    network_optimised: bool
    green_status: Literal["GREEN", "PARTIALLY_GREEN"]


class Region(StrictModel):
    """A region."""

    id: Id
    name: str
    country: str
    description: str
    green_status: Literal["GREEN", "PARTIALLY_GREEN"]
    features: RegionFeatures


class Environment(StrictModel):
    """An environment: a team's share of a region."""

    id: Id
    name: str
    region: str
    created_at: Time
    features: RegionFeatures


class KeypairEnvironment(StrictModel):
    """The environment of a key pair."""

    id: Id
    name: str
    features: RegionFeatures


class VmEnvironment(Environment):
    """The environment of a VM."""

    org_id: Id


class FlavorFeatures(StrictModel):
    """The features and restrictions of a flavor."""

    network_optimised: bool
    no_reboot: bool
    no_hibernation: bool
    no_snapshot: bool
    local_storage_only: bool
    api_only: bool


class Flavor(StrictModel):
    """A VM size; ram, disk and ephemeral in GB."""

    id: Id
    name: str
    display_name: str
    region_name: str
    cpu: Count
    ram: float
    disk: Count
    ephemeral: Count
    gpu: str
    gpu_count: Count
    created_at: Time
    labels: list[Label]
    features: FlavorFeatures


class SnapshotFlavor(Flavor):
    """The flavor of a snapshot's VM."""

    display_name: None  # pyright: ignore[reportIncompatibleVariableOverride] - as recorded


class _Image(StrictModel):
    id: Id
    name: str
    region_name: str
    type: str
    version: str
    size: Annotated[Count, Field(description="bytes")]
    display_size: str
    description: Annotated[str | None, Field(description="null for the image of a snapshot")]
    is_public: bool
    created_at: Time


class CustomImage(_Image):
    """An image created from a snapshot: its type is "Snapshot", its version that one's name."""

    labels: list[str]


class VmImage(CustomImage):
    """The image from which a VM was created."""

    snapshot: None


class ListedImage(_Image):
    """An image in a list; a public one has `snapshot` (null)."""

    snapshot: None = OMITTED
    labels: list[Label]


class RelatedVm(StrictModel):
    """A VM that was created from an image."""

    id: Id
    name: str


class ReadImage(ListedImage):
    """An image in a read response; `related_vms` only if requested."""

    related_vms: list[RelatedVm] = OMITTED


class ImageGroup(StrictModel):
    """The images of a region with the same operating system."""

    region_name: str
    type: str
    logo: str
    images: list[ListedImage]


class ListedFlavor(Flavor):
    """A flavor in a list, and whether it is available."""

    stock_available: bool


class FlavorGroup(StrictModel):
    """The flavors of a region with the same GPU, which is empty for those without one."""

    gpu: str
    region_name: str
    flavors: list[ListedFlavor]


class Keypair(StrictModel):
    """A key pair and its environment."""

    id: Id
    name: str
    public_key: str
    fingerprint: str
    created_at: Time
    environment: KeypairEnvironment


class NewSnapshot(StrictModel):
    """A snapshot in the response to its creation."""

    id: Id
    name: Name
    description: str
    vm_id: Id
    region_id: Id
    status: Literal["CREATING", "SUCCESS", "ERROR", "DELETING"]
    is_image: bool
    size: Annotated[Count, Field(description="GB; 0 until the snapshot is ready")]
    has_floating_ip: bool
    labels: list[str]
    created_at: Time
    updated_at: Time


VmStatus = Literal[
    "CREATING",
    "BUILD",
    "ACTIVE",
    "STOPPING",
    "SHUTOFF",
    "STARTING",
    "REBOOTING",
    "HIBERNATING",
    "HIBERNATED",
    "RESTORING",
    "DELETING",
]


class WholeSnapshot(NewSnapshot):
    """A snapshot in list and read responses."""

    region: str
    vm_name: str
    vm_status: VmStatus | Literal["DELETED"]
    volume_id: None
    volume_name: None
    vm_environment: Environment
    vm_flavor: SnapshotFlavor
    vm_image: VmImage
    vm_keypair: Keypair
    custom_image: CustomImage | None


class Volume(StrictModel):
    """A volume; its size in GB."""

    id: Id
    name: str
    description: str
    volume_type: str
    size: Count
    bootable: bool


class VolumeAttachment(StrictModel):
    """The attachment of a volume to a VM."""

    id: Id
    status: Literal["ATTACHED"]
    device: str
    protected: bool
    created_at: Time
    volume: Volume


class NamedKeypair(StrictModel):
    """The key pair of a VM."""

    name: str


class EnhancedMetrics(StrictModel):
    """Whether enhanced metrics of a VM are collected."""

    enabled: bool


class SecurityRule(StrictModel):
    """A firewall rule of a VM."""

    id: Id
    direction: str
    ethertype: str
    protocol: str
    remote_ip_prefix: str
    port_range_min: int | None
    port_range_max: int | None
    status: Literal["SUCCESS"]
    created_at: Time


class Instance(StrictModel):
    """A virtual machine."""

    id: Id
    name: Name
    status: VmStatus
    is_snapshotting: bool
    power_state: Annotated[
        Literal["RUNNING", "SHUTDOWN"] | None, Field(description="null until the VM is built")
    ]
    vm_state: Literal["active", "stopped"] | None
    environment: VmEnvironment
    flavor: Flavor
    image: VmImage
    keypair: NamedKeypair
    volume_attachments: Annotated[
        list[VolumeAttachment], Field(description="empty unless the VM starts from a volume")
    ]
    fixed_ip: str | None
    floating_ip: str | None
    floating_ip_status: Literal["ATTACHED"] | None
    security_rules: list[SecurityRule]
    labels: list[str]
    locked: bool
    os: str
    contract_id: int | None
    cluster_id: None
    dedicated_inference_id: None
    enhanced_metrics: EnhancedMetrics
    created_at: Time


class ContractVm(StrictModel):
    """A VM that is billed under a contract; its usage in seconds."""

    id: Id
    name: Name
    status: VmStatus
    flavor_name: str
    gpu_count: Count
    created_at: Time
    termination_time: None
    total_usage_time: Count
    cluster: None
