"""Rewrite the objects in the cloud's replies, as other versions of the cloud would send them."""

import json
from collections.abc import Callable
from typing import Any, cast

import httpx

from tests.conftest import World

Change = Callable[[dict[str, Any]], object]
BASE_FIELDS = (
    *("id", "name", "description", "vm_id", "region_id", "status", "is_image", "size"),
    *("has_floating_ip", "labels", "created_at", "updated_at"),
)
"""Source: the fields of a snapshot in a list, in the vendor's OpenAPI document."""


def rewrite_replies(
    world: World,
    *,
    listed: Change | None = None,
    single: Change | None = None,
    vm: Change | None = None,
) -> None:
    """Apply changes to the cloud's replies.

    Args:
        world: the world whose cloud replies.
        listed: changes a snapshot in a list.
        single: changes a snapshot that is read by its id.
        vm: changes a VM, in a list or not.
    """

    changes = {"snapshots": listed, "snapshot": single, "instances": vm, "instance": vm}

    async def change_body(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method != "GET":
            return response
        body: object = json.loads(await response.aread())
        for key, change in changes.items():
            if change is not None:
                for entry in _entries(body, key):
                    change(entry)
        return httpx.Response(response.status_code, json=body)

    world.tamper(change_body)


def _entries(body: object, key: str) -> list[dict[str, Any]]:
    if not isinstance(body, dict):
        return []  # the price list
    value = cast("dict[str, Any]", body).get(key, [])
    return cast("list[dict[str, Any]]", value if isinstance(value, list) else [value])


def keep_base_fields(entry: dict[str, Any]) -> None:
    """Remove the fields that a list omits according to the vendor's OpenAPI document."""
    for name in entry.keys() - set(BASE_FIELDS):
        del entry[name]


def shorten_lists(world: World) -> None:
    """Reduce the snapshots in the cloud's lists to their base fields."""
    rewrite_replies(world, listed=keep_base_fields)


def set_fields(snapshot_ids: set[int], **values: object) -> Change:
    """Return a change that sets these fields of these objects."""

    def change(entry: dict[str, Any]) -> None:
        if entry["id"] in snapshot_ids:
            entry.update(values)

    return change
