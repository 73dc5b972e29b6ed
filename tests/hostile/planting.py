"""Plant texts of others in every reply of the cloud, and the calls whose results show them."""

import json
from collections.abc import Callable
from itertools import cycle
from typing import cast

import httpx

from tests.conftest import World

TARGET = 1714
PLAN: dict[str, object] = {"snapshot_id": TARGET}
RESTORE: dict[str, object] = PLAN | {"new_vm_name": "back-again"}
SURFACES: dict[str, dict[str, object]] = {
    "list_snapshots": {"limit": 100},
    "inspect_snapshot": PLAN,
    "list_virtual_machines": {"limit": 100},
    "delete_snapshot": PLAN,
    "restore_snapshot": RESTORE,
    "list_snapshot_events": PLAN,
    "review_snapshots": {"limit": 100},
    "create_image_from_snapshot": {"snapshot_id": 1702, "name": "safe"},  # it has an image
    "plan_retention": {"keep_last": 1, "limit": 100},
}
# Fields that decide what is allowed stay unchanged, unless the test is about them.
UNTOUCHED = {"status", "created_at", "updated_at", "time", "born"}
_MAX_LENGTH_IN_LIST = 350


def _plant(value: object, next_text: Callable[[], str], kept: set[str]) -> object:
    """Return a JSON value of the cloud with a text in every field that a person can write."""
    match value:
        case dict():
            return {
                key: entry if key in kept else _plant(entry, next_text, kept)
                for key, entry in cast("dict[str, object]", value).items()
            }
        case list():
            return [_plant(entry, next_text, kept) for entry in cast("list[object]", value)]
        case str():
            return next_text()
        case _:
            return value


class TextPlanter:
    """Writes one text, or several in turn, into every reply of the cloud to a read."""

    def __init__(self, world: World) -> None:
        self.text: str | None = None
        self.texts: list[str] = []
        self.untouched = UNTOUCHED
        world.tamper(self.change)

    async def change(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if (self.text is None and not self.texts) or request.method != "GET":
            return response
        reply = json.loads(await response.aread())
        if isinstance(reply, list) or "stocks" in reply:
            return response  # prices and stocks: their texts are only compared, never shown
        # A list with a hundred long texts would be rejected as too large.
        max_length = None if "snapshot" in reply else _MAX_LENGTH_IN_LIST
        turns = cycle(self.texts or [self.text or ""])
        body = {
            key: value
            if key == "status"
            else _plant(value, lambda: next(turns)[:max_length], self.untouched)
            for key, value in reply.items()
        }
        return httpx.Response(response.status_code, content=json.dumps(body), request=request)
