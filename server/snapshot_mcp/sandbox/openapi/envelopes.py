"""The bodies of requests and replies, for the OpenAPI document.

`ask` reads the ones, `actions` answers the others and names the sources.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from snapshot_mcp.sandbox.openapi import shapes
from snapshot_mcp.sandbox.openapi.shapes import LEFT_OUT, Count, Id, Shape

Labels = Annotated[list[str] | None, Field(description="null is as good as none")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="allow")  # the cloud ignores fields that it does not know


class CreateSnapshot(_Request):
    """What a snapshot is to be called; the name must be free."""

    name: Annotated[shapes.Name, Field(examples=["before the upgrade"])]
    description: Annotated[str | None, Field(examples=["Drivers as they were"])] = LEFT_OUT
    labels: Annotated[Labels, Field(examples=[["keep"]])] = LEFT_OUT


class RestoreSnapshot(_Request):
    """What the new VM is to be called; without a valid contract it is billed on demand."""

    new_vm_name: Annotated[shapes.Name, Field(examples=["training-box-2"])]
    contract_id: Annotated[int | None, Field(examples=[77])] = LEFT_OUT


class CreateImage(_Request):
    """What the image is to be called; the name must be free."""

    name: Annotated[shapes.Name, Field(examples=["base-image"])]
    labels: Annotated[Labels, Field(examples=[["base"]])] = LEFT_OUT


class Done(Shape):
    """It is done, or has begun."""

    status: Literal[True]
    message: str


class _Listing(Done):
    count: Annotated[Count, Field(description="of everything found, on whatever page")]
    page: Annotated[int | None, Field(description="null when no page was asked for")]
    page_size: Annotated[int | None, Field(description="null when no page was asked for")]


class SnapshotList(_Listing):
    """Snapshots, newest first."""

    snapshots: list[shapes.WholeSnapshot]


class SnapshotRead(Shape):
    """One snapshot."""

    status: Literal[200]
    message: str
    snapshot: shapes.WholeSnapshot


class SnapshotBegun(Done):
    """A snapshot that is being created."""

    snapshot: shapes.NewSnapshot


class _Event(Shape):
    id: Id
    user_id: Id
    org_id: Id
    time: shapes.BareTime
    type: str
    reason: str
    message: str


class SnapshotEvent(_Event):
    """Something that happened to a snapshot."""

    snapshot_id: Id
    object: Literal["snapshot"]


class InstanceEvent(_Event):
    """Something that happened to a VM."""

    instance_id: Id
    object: Literal["virtual_machine"]


class SnapshotEvents(Done):
    """What happened to a snapshot, newest first."""

    snapshot_events: list[SnapshotEvent]


class ContractError(Shape):
    """Why the new VM is billed on demand."""

    contract: str


class SnapshotRestored(Done):
    """The new VM, alone in its list."""

    instances: Annotated[list[shapes.Instance], Field(min_length=1, max_length=1)]
    errors: ContractError = LEFT_OUT


class ImageMade(Done):
    """The new image."""

    image: shapes.CustomImage


class NameAvailability(Shape):
    """Whether a snapshot could have the name."""

    name: shapes.Name
    available: bool
    message: str


class InstanceList(_Listing):
    """VMs, oldest first."""

    instances: list[shapes.Instance]


class InstanceRead(Done):
    """One VM."""

    instance: shapes.Instance


class InstanceEvents(Done):
    """What happened to a VM, newest first."""

    instance_events: list[InstanceEvent]


class RegionList(Done):
    """The regions."""

    regions: list[shapes.Region]


class EnvironmentList(_Listing):
    """The environments."""

    environments: list[shapes.Environment]


class ImageList(Done):
    """The images, grouped."""

    images: list[shapes.ImageGroup]


class Pricebook(RootModel[list[shapes.Price]]):
    """All prices."""


class OpenApiDocument(BaseModel):
    """The document itself."""

    model_config = ConfigDict(extra="allow")

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
