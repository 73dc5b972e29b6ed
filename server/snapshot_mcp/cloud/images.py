"""Parse the cloud's answers about images."""

from collections.abc import Iterator, Mapping
from typing import cast

from snapshot_mcp.cloud.field_readers import AlteredFields, as_mapping, read_text
from snapshot_mcp.cloud.parsing import get_list, get_object, parse_image, require_object
from snapshot_mcp.core.errors import ProtocolError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH
from snapshot_mcp.models.cloud import CustomImage

MAX_IMAGE_VMS = 1_000


def find_image(name: str, body: object) -> CustomImage | None:
    """Return the image with exactly this name from the list of images, or None."""
    for raw in _flatten_images(get_list(require_object(body), "images")):
        try:
            image = parse_image(raw)
        except ProtocolError:
            continue  # an image without an id cannot be used
        if image.name == name:
            return image
    return None


def _flatten_images(groups: list[object]) -> Iterator[object]:
    for group in groups:
        members = (
            cast("Mapping[str, object]", group).get("images")
            if isinstance(group, Mapping)
            else None
        )
        yield from cast("list[object]", members) if isinstance(members, list) else [group]


def parse_vms_of_image(body: object) -> tuple[str, ...] | None:
    """Return the VMs that use an image, each as a name or an id; None if unknown."""
    vms = require_object(get_object(require_object(body), "image")).get("related_vms")
    if not isinstance(vms, list):
        return None
    names: list[str] = []
    for entry in cast("list[object]", vms)[:MAX_IMAGE_VMS]:
        vm = as_mapping(entry)
        name = read_text(
            MAX_NAME_LENGTH,
            entry if vm is None else vm.get("name") or vm.get("id"),
            "",
            AlteredFields(),
        )
        names.append(name or "?")
    return tuple(names)
