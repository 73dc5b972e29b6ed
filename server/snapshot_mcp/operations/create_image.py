"""create_image_from_snapshot: make an image of a snapshot. It needs no plan."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, cast

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.writer import CloudWriter
from snapshot_mcp.consent.evidence import Approver
from snapshot_mcp.consent.plan_tokens import Intent
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    NotDoneError,
    NotFoundError,
    OutcomeUnknownError,
    RefusedError,
)
from snapshot_mcp.core.sanitize import quoted
from snapshot_mcp.ledger.chain import Row, attempt_from_row
from snapshot_mcp.models.cloud import CustomImage
from snapshot_mcp.models.images import ImageResult, ImageSummary
from snapshot_mcp.operations.lookups import read_snapshot
from snapshot_mcp.operations.planned_write import RETRY_ALLOWED, WriteContext, execute_without_plan
from snapshot_mcp.operations.policy_check import enforce_policy
from snapshot_mcp.operations.polling import poll_until
from snapshot_mcp.operations.requests import CreateImageRequest
from snapshot_mcp.operations.stored_facts import compare_stored
from snapshot_mcp.operations.used_names import IMAGE_NAME, check_name_unused, name_taken_error
from snapshot_mcp.rules import policy as rules
from snapshot_mcp.rules.eligibility import image_obstacle

IMAGE_TIMEOUT_SECONDS = 5.0

_DELETED_TOGETHER = (
    "It is deleted together with its snapshot: keep the snapshot as long as the image is needed."
)


@dataclass
class CreateImage:
    """The creation of one image."""

    tool: ClassVar[Literal["create_image_from_snapshot"]] = "create_image_from_snapshot"
    request: CreateImageRequest

    @classmethod
    def from_row(cls, row: Row) -> Self | None:
        """Return the write that a row of the ledger describes; None if the name is missing."""
        arguments = attempt_from_row(row).arguments
        name, labels = arguments.get("name"), cast("list[str]", arguments.get("labels", []))
        return cls(CreateImageRequest(row.target, str(name), labels)) if name else None

    @property
    def intent(self) -> Intent:
        """The tool, the snapshot, and every other argument."""
        arguments = {"name": self.request.name, "labels": self.request.labels}
        return Intent(self.tool, self.request.snapshot_id, arguments)

    async def check(self, context: WriteContext) -> None:
        """Check that the name is free, and that the snapshot is ready and has no image yet.

        Raises:
            RefusedError: it is not, or the policy forbids it.
        """
        name = self.request.name
        await check_name_unused(context.reader.own_writes, IMAGE_NAME, name)
        taken_by = await context.reader.find_image(name)
        if taken_by is not None:
            raise name_taken_error(IMAGE_NAME, name, taken_by.id)
        snapshot = await read_snapshot(context.reader, self.request.snapshot_id)
        enforce_policy(rules.check_image(context.policy, snapshot))
        obstacle = image_obstacle(snapshot)
        if obstacle is not None:
            raise RefusedError(
                f"No image can be made of snapshot {snapshot.id} now: {obstacle}.", NOTHING_CHANGED
            )

    def send(self, writer: CloudWriter) -> Awaitable[CustomImage]:
        """Send the request once."""
        request = self.request
        return writer.create_image(request.snapshot_id, request.name, request.labels)

    async def find_effect(self, reader: CloudReader) -> CustomImage | None:
        """Return the image with this name, of this snapshot or in the list of images."""
        try:
            image = (await reader.get_snapshot(self.request.snapshot_id)).custom_image
        except NotFoundError:
            image = None  # an image is deleted together with its snapshot
        if image is not None and image.name == self.request.name:
            return image
        return await reader.find_image(self.request.name)

    def is_certain(self, effect: object) -> bool:
        """Return False: an image with this name may hold any snapshot."""
        del effect
        return False

    def remark(self, result: object) -> str:
        """Return which labels were not stored."""
        is_image = isinstance(result, CustomImage)
        return compare_stored(result, self.request.labels).remark if is_image else ""


async def create_image(
    context: WriteContext, request: CreateImageRequest, approver: Approver
) -> ImageResult:
    """Make an image of a snapshot, and check whether the cloud shows it.

    Raises:
        RefusedError: as `CreateImage.check`; nothing was sent.
        CloudError: the cloud refused, or could not be reached.
    """
    write = CreateImage(request)
    try:
        image = await execute_without_plan(context, write, approver)
    except NotDoneError as error:
        return _build_result(request, "failed", f"{error} {RETRY_ALLOWED}")
    except OutcomeUnknownError as error:
        how_to_check = (
            f"Call inspect_snapshot with {request.snapshot_id}: it shows the derived image."
        )
        return _build_result(request, "unknown", f"{error} {how_to_check}")
    polled = await poll_until(
        None,
        lambda: write.find_effect(context.plain_reader),
        lambda found: found is not None,
        lambda _: f"Image {quoted(request.name)} is being made",
        seconds=IMAGE_TIMEOUT_SECONDS,
        clock=context.clock,
    )
    if polled.last is not None:
        return _build_result(request, "created", _DELETED_TOGETHER, polled.last)
    later = (
        "The cloud accepted the request, but does not show the image yet. Call inspect_snapshot"
        f" with {request.snapshot_id} later, which shows the derived image; do not create it"
        f" again. {_DELETED_TOGETHER}"
    )
    return _build_result(request, "pending", later, image)


def _build_result(
    request: CreateImageRequest,
    outcome: Literal["created", "pending", "failed", "unknown"],
    next_step: str,
    image: CustomImage | None = None,
) -> ImageResult:
    result = ImageResult(outcome=outcome, snapshot_id=request.snapshot_id, next_step=next_step)
    if image is None:
        return result
    stored = compare_stored(image, request.labels)
    facts = {
        "image": ImageSummary.from_image(image),
        "labels_stored": stored.labels_stored,
        "next_step": f"{next_step} {stored.warning}".strip(),
    }
    return result.model_copy(update=facts)
