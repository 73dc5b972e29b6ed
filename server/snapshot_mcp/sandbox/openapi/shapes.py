"""How the things of the cloud look on the wire, exactly, for the OpenAPI document.

`replies` and `catalogue` make them and name the sources; a class here only says what they hold.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from snapshot_mcp.sandbox.request import MAX_ID, MAX_NAME_LENGTH, NAME_PATTERN

_SECONDS = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}"

Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=NAME_PATTERN)]
Time = Annotated[str, Field(pattern=_SECONDS + "Z$", json_schema_extra={"format": "date-time"})]
BareTime = Annotated[str, Field(pattern=_SECONDS + "$", description="UTC, without saying so")]
# A field with this default can be left out, which null would not say.
LEFT_OUT: Any = None


class Shape(BaseModel):
    """A thing with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Label(Shape):
    """A label that has a number."""

    id: Id
    label: str


class RegionFeatures(Shape):
    """What a region has."""

    network_optimised: bool
    green_status: Literal["GREEN", "PARTIALLY_GREEN"]


class Region(Shape):
    """A region."""

    id: Id
    name: str
    country: str
    description: str
    green_status: Literal["GREEN", "PARTIALLY_GREEN"]
    features: RegionFeatures


class Environment(Shape):
    """An environment: a team's part of a region."""

    id: Id
    name: str
    region: str
    created_at: BareTime
    features: RegionFeatures


class VmEnvironment(Environment):
    """An environment as a VM tells it."""

    org_id: Id


class FlavorFeatures(Shape):
    """What a flavor can and cannot do."""

    network_optimised: bool
    no_reboot: bool
    no_hibernation: bool
    no_snapshot: bool
    local_storage_only: bool
    api_only: bool


class Flavor(Shape):
    """A size of VM; ram, disk and ephemeral in GB."""

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
    created_at: BareTime
    labels: list[Label]
    features: FlavorFeatures


class _AnyImage(Shape):
    id: Id
    name: str
    region_name: str
    type: str
    version: str
    size: Annotated[Count, Field(description="bytes")]
    display_size: str
    description: str
    is_public: bool


class PublicImage(_AnyImage):
    """An image that the cloud offers."""

    snapshot: None
    labels: list[str]


class CustomImage(_AnyImage):
    """An image that was made of a snapshot."""

    created_at: Time
    labels: list[str]


class ListedImage(_AnyImage):
    """An image of the list: a public one has a snapshot, which is null, a custom one its time."""

    snapshot: None = LEFT_OUT
    created_at: Time = LEFT_OUT
    labels: list[Label]


class ImageGroup(Shape):
    """The images of a region with the same operating system."""

    region_name: str
    type: str
    logo: str
    images: list[ListedImage]


class Price(Shape):
    """A price in US dollars for an hour."""

    id: Id
    name: str
    value: Annotated[str, Field(pattern=r"^\d+\.\d{9}$")]


class Keypair(Shape):
    """A key pair, with the environment that it is in."""

    id: Id
    name: str
    public_key: str
    fingerprint: str
    created_at: BareTime
    environment: Environment


class NewSnapshot(Shape):
    """A snapshot as the reply to its creation tells it."""

    id: Id
    name: Name
    description: str
    vm_id: Id
    region_id: Id
    status: Literal["CREATING", "SUCCESS", "ERROR"]
    is_image: bool
    size: Annotated[Count, Field(description="GB; 0 until the snapshot is ready")]
    has_floating_ip: bool
    labels: list[str]
    created_at: Time
    updated_at: Time


VmStatus = Literal["CREATING", "BUILD", "ACTIVE", "STOPPING", "SHUTOFF", "STARTING", "HIBERNATED"]


class WholeSnapshot(NewSnapshot):
    """A snapshot as the list and the single read tell it."""

    region: str
    vm_name: str
    vm_status: VmStatus | Literal["DELETED"]
    volume_id: Id
    volume_name: str
    vm_environment: Environment
    vm_flavor: Flavor
    vm_image: PublicImage
    vm_keypair: Keypair
    custom_image: CustomImage | None


class Volume(Shape):
    """A volume; its size in GB."""

    id: Id
    name: str
    description: str
    volume_type: str
    size: Count
    bootable: bool


class VolumeAttachment(Shape):
    """How a volume is attached to a VM."""

    id: Id
    status: Literal["ATTACHED"]
    device: str
    protected: bool
    created_at: BareTime
    volume: Volume


class NamedKeypair(Shape):
    """A key pair as a VM tells it."""

    name: str


class Instance(Shape):
    """A virtual machine."""

    id: Id
    name: Name
    status: VmStatus
    is_snapshotting: bool
    power_state: Literal["RUNNING", "SHUTDOWN"]
    vm_state: Literal["active", "stopped"]
    environment: VmEnvironment
    flavor: Flavor
    image: PublicImage
    keypair: NamedKeypair
    volume_attachments: list[VolumeAttachment]
    fixed_ip: str
    floating_ip: str | None
    floating_ip_status: Literal["ATTACHED"] | None
    security_rules: Annotated[list[str], Field(max_length=0)]
    labels: list[str]
    locked: bool
    os: str
    contract_id: int | None
    created_at: BareTime
