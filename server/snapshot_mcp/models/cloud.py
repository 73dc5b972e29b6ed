"""Models of the cloud's objects: snapshots, VMs, images, events.

The types and descriptions of tool arguments and results come from here, and so do the JSON schemas.
None means that the field is unknown: the cloud did not return it, or it could not be read. Results
omit it.
Source: the Snapshots API's object description and the vendor's recorded replies.
"""

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from snapshot_mcp.core.sanitize import MAX_DESCRIPTION_LENGTH, is_sanitized

MAX_NAME_LENGTH = 50
MAX_LABEL_LENGTH = 50
MAX_LABELS = 20
MAX_ID = 2**63 - 1

SnapshotState = Literal["ready", "pending", "failed", "deleting", "unknown"]
STATES_WITHOUT_DATA: frozenset[SnapshotState] = frozenset({"failed", "deleting"})
"""States in which a snapshot is not a copy of its VM."""


def _check_max_id(value: int) -> int:
    if value > MAX_ID:
        raise ValueError("is larger than any id")
    return value


def _normalize_nfc(text: object) -> object:
    # macOS writes accents as separate characters, which people cannot see. Normalize before the
    # length is checked, because some characters become longer.
    return unicodedata.normalize("NFC", text) if isinstance(text, str) else text


def _check_plain(text: str) -> str:
    if not is_sanitized(text):
        raise ValueError(
            "must not contain line breaks, control or invisible characters, or spaces at its ends"
        )
    return text


Id = Annotated[int, Field(ge=1), AfterValidator(_check_max_id)]
_Text = (BeforeValidator(_normalize_nfc), AfterValidator(_check_plain))
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH), *_Text]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION_LENGTH), *_Text]
Label = Annotated[str, Field(min_length=1, max_length=MAX_LABEL_LENGTH), *_Text]
Labels = Annotated[list[Label], Field(max_length=MAX_LABELS)]


class FrozenModel(BaseModel):
    """Base class of immutable values."""

    model_config = ConfigDict(frozen=True)


class Features(FrozenModel):
    """Features of a flavor or an environment."""

    network_optimised: bool | None = Field(default=None, description="Has the optimised network")
    green_status: str | None = Field(default=None, description="Energy class of the region")
    no_reboot: bool | None = Field(default=None, description="VMs cannot be rebooted")
    no_hibernation: bool | None = Field(default=None, description="VMs cannot be hibernated")
    no_snapshot: bool | None = Field(default=None, description="VMs cannot be snapshotted")
    local_storage_only: bool | None = Field(default=None, description="VMs have local storage only")
    api_only: bool | None = Field(default=None, description="Offered over the API only")


class Environment(FrozenModel):
    """The environment of a VM, such as its region and features."""

    id: int | None = Field(default=None, description="Id of the environment")
    name: str | None = Field(default=None, description="Name of the environment")
    region: str | None = Field(default=None, description="Region of the environment")
    created_at: datetime | None = Field(default=None, description="When it was created (UTC)")
    features: Features | None = Field(default=None, description="Its features")


class Flavor(FrozenModel):
    """The size of a VM."""

    id: int | None = Field(default=None, description="Id of the flavor")
    name: str | None = Field(default=None, description="Name of the flavor")
    display_name: str | None = Field(default=None, description="Name shown to people")
    region_name: str | None = Field(default=None, description="Region of the flavor")
    cpu: int | None = Field(default=None, description="Number of vCPUs")
    ram: float | None = Field(default=None, description="Memory in GB")
    disk: int | None = Field(default=None, description="Root disk in GB")
    ephemeral: int | None = Field(default=None, description="Ephemeral disk in GB")
    gpu: str | None = Field(default=None, description="Model of the GPUs")
    gpu_count: int | None = Field(default=None, description="Number of GPUs")
    created_at: datetime | None = Field(default=None, description="When it was created (UTC)")
    labels: tuple[str, ...] | None = Field(default=None, description="Labels of the flavor")
    features: Features | None = Field(default=None, description="Features of its VMs")


class VmImage(FrozenModel):
    """The operating system image of the VM."""

    id: int | None = Field(default=None, description="Id of the image")
    name: str | None = Field(default=None, description="Name of the image")
    type: str | None = Field(default=None, description="Operating system")
    version: str | None = Field(default=None, description="Version of the operating system")
    size: int | None = Field(default=None, description="Size in bytes")
    display_size: str | None = Field(default=None, description="Size as text")
    is_public: bool | None = Field(default=None, description="Available to every account")
    labels: tuple[str, ...] | None = Field(default=None, description="Labels of the image")


class Keypair(FrozenModel):
    """The SSH key pair of the VM; the public part only."""

    id: int | None = Field(default=None, description="Id of the key pair")
    name: str | None = Field(default=None, description="Name of the key pair")
    environment: str | None = Field(default=None, description="Name of its environment")
    public_key: str | None = Field(default=None, description="Public key", exclude=True)
    fingerprint: str | None = Field(default=None, description="Fingerprint of the public key")
    created_at: datetime | None = Field(default=None, description="When it was created (UTC)")


class CustomImage(FrozenModel):
    """An image made from a snapshot; it is deleted together with the snapshot."""

    id: int | None = Field(default=None, description="Id of the image")
    name: str | None = Field(default=None, description="Name of the image")
    region_name: str | None = Field(default=None, description="Region of the image")
    type: str | None = Field(default=None, description="Operating system")
    version: str | None = Field(default=None, description="Version of the operating system")
    size: int | None = Field(default=None, description="Size in bytes")
    description: str | None = Field(default=None, description="Description of the image")
    is_public: bool | None = Field(default=None, description="Available to every account")
    created_at: datetime | None = Field(default=None, description="When it was created (UTC)")
    labels: tuple[str, ...] | None = Field(default=None, description="Labels of the image")


class Snapshot(FrozenModel):
    """A snapshot, with all attributes from the cloud."""

    id: int = Field(description="Id of the snapshot")
    name: str = Field(default="", description="Name of the snapshot")
    status: str | None = Field(default=None, description="Status reported by the cloud")
    vm_id: int | None = Field(default=None, description="Id of the source VM")
    vm_name: str | None = Field(default=None, description="Name of the source VM")
    vm_status: str | None = Field(
        default=None, description="Status of the source VM; DELETED if deleted"
    )
    size: int | None = Field(default=None, description="Estimated size in GB")
    created_at: datetime | None = Field(default=None, description="When it was taken (UTC)")
    updated_at: datetime | None = Field(default=None, description="When it last changed (UTC)")
    region_id: int | None = Field(default=None, description="Id of the region")
    region: str | None = Field(default=None, description="Name of the region")
    description: str | None = Field(default=None, description="Purpose of the snapshot")
    labels: tuple[str, ...] | None = Field(default=None, description="Labels of the snapshot")
    is_image: bool | None = Field(default=None, description="Intended for use as an image")
    has_floating_ip: bool | None = Field(default=None, description="The VM had a floating IP")
    volume_id: int | None = Field(default=None, description="Id of the volume")
    volume_name: str | None = Field(default=None, description="Name of the volume")
    vm_environment: Environment | None = Field(default=None, description="Where the VM ran")
    vm_flavor: Flavor | None = Field(default=None, description="Size of the VM")
    vm_image: VmImage | None = Field(default=None, description="Operating system image of the VM")
    vm_keypair: Keypair | None = Field(default=None, description="SSH key pair of the VM")
    custom_image: CustomImage | None = Field(
        default=None, description="Image made from this snapshot"
    )
    deletion_sent_at: datetime | None = Field(
        default=None, description="When this server sent its deletion (UTC)"
    )
    altered: tuple[str, ...] | None = Field(
        default=None, description="Fields from which hidden, excess or unreadable text was removed"
    )

    @property
    def state(self) -> SnapshotState:
        """The meaning of the status."""
        return snapshot_state(self.status)

    @property
    def is_copy(self) -> bool:
        """Whether it counts as a copy of its VM: it is ready, and this server did not delete it."""
        return self.state == "ready" and self.deletion_sent_at is None

    @property
    def vm_gone(self) -> bool | None:
        """Whether the source VM is deleted; None if its status is unknown."""
        word = status_word(self.vm_status)
        return word == "DELETED" if word else None

    @property
    def image_is_known(self) -> bool:
        """Whether `custom_image` is known, so that None means that there is no image."""
        return "custom_image" in self.model_fields_set

    def is_unknown(self, field: str) -> bool:
        """Return whether a field is unknown. An empty name, region or status is unknown too."""
        if field == "custom_image":
            return not self.image_is_known
        value: object = getattr(self, field)
        return value is None or value == ""


class VirtualMachine(FrozenModel):
    """A virtual machine."""

    id: int = Field(description="Id of the VM")
    name: str = Field(default="", description="Name of the VM")
    status: str | None = Field(default=None, description="Status reported by the cloud")
    flavor: Flavor | None = Field(default=None, description="Size of the VM")
    environment: Environment | None = Field(default=None, description="Where the VM runs")
    is_snapshotting: bool | None = Field(
        default=None, description="A snapshot of it is in progress"
    )
    in_cluster: bool | None = Field(default=None, description="It is a node of a cluster")
    boots_from_volume: bool | None = Field(default=None, description="Its root is a volume")
    volume_count: int | None = Field(default=None, description="Number of attached volumes")
    has_floating_ip: bool | None = Field(default=None, description="It has a floating IP")
    created_at: datetime | None = Field(default=None, description="When it was created (UTC)")
    altered: tuple[str, ...] | None = Field(
        default=None, description="Fields from which hidden, excess or unreadable text was removed"
    )

    @property
    def region(self) -> str | None:
        """Name of the region, from the environment or the flavor."""
        region = self.environment.region if self.environment else None
        return region or (self.flavor.region_name if self.flavor else None)


class SnapshotEvent(FrozenModel):
    """An event of a snapshot."""

    id: int = Field(description="Id of the event")
    time: datetime | None = Field(default=None, description="When it happened (UTC)")
    type: str | None = Field(default=None, description="Kind of event")
    reason: str | None = Field(default=None, description="Reason reported by the cloud")
    message: str | None = Field(default=None, description="Message of the cloud")
    user_id: int | None = Field(default=None, description="Id of the user who caused it")


_STATES: Mapping[str, SnapshotState] = MappingProxyType(
    {
        "SUCCESS": "ready",
        "SUCCESSFUL": "ready",
        "COMPLETE": "ready",
        "COMPLETED": "ready",
        "AVAILABLE": "ready",
        "ERROR": "failed",
        "FAILED": "failed",
        "DELETING": "deleting",
        "DELETED": "deleting",
        "CREATING": "pending",
        "PENDING": "pending",
        "QUEUED": "pending",
        "SCHEDULED": "pending",
        "SAVING": "pending",
        "IN_PROGRESS": "pending",
    }
)


def status_word(status: str | None) -> str:
    """Return a status in upper case for comparison. Text that is not ASCII stays as it is.

    Otherwise a dotless i would become "I", and another status could imitate a known one.
    """
    word = (status or "").strip()
    return word.upper() if word.isascii() else word


@lru_cache(64)  # a list of thousands has a few statuses
def snapshot_state(status: str | None) -> SnapshotState:
    """Return the meaning of a status. The cloud may add statuses, so all others are "unknown".

    Source: SUCCESS in the vendor's recorded replies, SUCCESSFUL in its object description,
    COMPLETE in its guides. No source shows the status of a failure or of a deletion; DELETING and
    DELETED are the statuses of VMs.
    """
    return _STATES.get(status_word(status), "unknown")
