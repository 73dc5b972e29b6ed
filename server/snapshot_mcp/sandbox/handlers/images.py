"""Handlers of images."""

from snapshot_mcp.sandbox import events, serializers
from snapshot_mcp.sandbox.entities import Json, Snapshot, VmQuery
from snapshot_mcp.sandbox.errors import bad_request_error, not_found_error
from snapshot_mcp.sandbox.handlers.context import (
    HandlerContext,
    HandlerResult,
    name_availability_result,
)
from snapshot_mcp.sandbox.request import ApiRequest, PageRequest


def list_images(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """List the team's own images, and public ones by default, grouped by region and type."""
    images = [image for _snapshot, image in _team_images(context)]
    if request.flag("include_public", default=True):
        images = context.session.catalogue_items("image") + images
    region, search = request.text("region"), request.search()
    matching = [
        image
        for image in images
        if region in (None, image["region_name"]) and search in image["name"].casefold()
    ]
    groups = serializers.image_groups(request.page("per_page").slice(matching))
    return HandlerResult({"status": True, "message": "Getting images successful", "images": groups})


def get_image(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Read one image, if requested with the VMs that were created from it.

    The body has neither `status` nor `message`. Source: the vendor's OpenAPI document. The format
    of `related_vms` is not documented and is specific to the embedded cloud.
    """
    image = _find_public_image(context, request) or _require_team_image(context, request)[1]
    image = serializers.with_label_objects(image)
    if request.flag("include_related_vms", default=False):
        _total, vms = context.session.list_vms(VmQuery(), PageRequest(), context.now)
        related = [vm for vm in vms if vm.config.image["id"] == image["id"]]
        image["related_vms"] = [{"id": vm.id, "name": vm.name} for vm in related]
    return HandlerResult({"image": image})


def delete_image(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Delete one of the team's images, but not its snapshot."""
    if _find_public_image(context, request):
        raise bad_request_error("A public image cannot be deleted.")
    snapshot, _image = _require_team_image(context, request)
    context.session.delete_image(snapshot.id, context.now)
    events.record_image_deletion(context.session, snapshot, context.now)
    return HandlerResult({"status": True, "message": "Image deleted successfully."})


def image_name_availability(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Return whether an image name is free."""
    return name_availability_result(context, request, "image")


def image_name_availability_of_sdks(context: HandlerContext, request: ApiRequest) -> HandlerResult:
    """Return whether an image name is free, under the path that the vendor's SDKs use."""
    return image_name_availability(context, request)


def _find_public_image(context: HandlerContext, request: ApiRequest) -> Json | None:
    images = context.session.catalogue_items("image")
    return next((image for image in images if image["id"] == request.resource_id()), None)


def _require_team_image(context: HandlerContext, request: ApiRequest) -> tuple[Snapshot, Json]:
    """Return the image with the id in the path, and the snapshot from which it was created."""
    for snapshot, image in _team_images(context):
        if image["id"] == request.resource_id():
            return snapshot, image
    raise not_found_error(f"Image {request.resource_id()} does not exist.")


def _team_images(context: HandlerContext) -> list[tuple[Snapshot, Json]]:
    return [
        (snapshot, serializers.custom_image(snapshot, snapshot.image))
        for snapshot in context.session.list_snapshots_with_image()
        if snapshot.image
    ]
