"""Images of snapshots, and what happened to a snapshot."""

from datetime import UTC, datetime
from typing import Literal

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.field_readers import read_integer
from snapshot_mcp.cloud.parsing import RawEntry, parse_event
from snapshot_mcp.consent.evidence import Approver
from snapshot_mcp.consent.gate import Gate
from snapshot_mcp.consent.plan_tokens import Intent
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.core.errors import (
    NOTHING_CHANGED,
    NotDoneError,
    OutcomeUnknownError,
    RefusedError,
)
from snapshot_mcp.core.sanitize import quoted
from snapshot_mcp.models.cloud import CustomImage, SnapshotEvent
from snapshot_mcp.models.images import ImageResult, ImageSummary, SnapshotEventList
from snapshot_mcp.operations.cursors import PageBuilder, Position, position_of
from snapshot_mcp.operations.pagination import PageCollector
from snapshot_mcp.operations.policy_check import enforce_policy
from snapshot_mcp.operations.polling import poll_until
from snapshot_mcp.operations.recovery import find_created_image
from snapshot_mcp.operations.requests import CreateImageRequest
from snapshot_mcp.rules import policy
from snapshot_mcp.rules.eligibility import image_obstacle
from snapshot_mcp.rules.policy import Policy

IMAGE_TIMEOUT_SECONDS = 5.0

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_GOES_TOGETHER = "It is deleted together with its snapshot: keep that as long as it is needed."
_MAY_BE_REPEATED = "It may be ordered again."


class ImageOperations:
    """Making an image of a snapshot, and reading its history.

    Args:
        reader: the reading half of the cloud.
        gate: the way to the writing half.
        clock: the time.
        policy: what the operator forbids, whoever agrees.
    """

    def __init__(self, reader: CloudReader, gate: Gate, clock: Clock, policy: Policy) -> None:
        self._reader = reader
        self._gate = gate
        self._clock = clock
        self._policy = policy

    async def create(self, order: CreateImageRequest, person: Approver) -> ImageResult:
        """Make an image of a snapshot, and look whether the cloud shows it.

        Raises:
            RefusedError: the snapshot is not ready or has an image, or the name is taken; nothing
                was sent.
            CloudError: the cloud refused, or could not be reached.
        """
        arguments = {"name": order.name, "labels": order.labels}
        intent = Intent("create_image_from_snapshot", order.snapshot_id, arguments)
        try:
            async with (
                self._gate.recording_refusals(intent, person, plan_token=""),
                self._gate.exclusive(),
            ):
                # Whoever plans to delete the snapshot sees either no image, or this one.
                await self._check(order)
                image = await self._gate.send(
                    self._gate.permit_without_plan(intent, person),
                    lambda writer: writer.create_image(order.snapshot_id, order.name, order.labels),
                    lambda: find_created_image(self._reader, order.snapshot_id, order.name),
                    others_differ=True,  # an image of that name may hold any snapshot
                )
        except NotDoneError as error:
            return _result(order, "failed", f"{error} {_MAY_BE_REPEATED}")
        except OutcomeUnknownError as error:
            look = f"Call inspect_snapshot with {order.snapshot_id}: it tells the derived image."
            return _result(order, "unknown", f"{error} {look}")
        return await self._seen(order, image)

    async def _check(self, order: CreateImageRequest) -> None:
        snapshot = await self._reader.get_snapshot(order.snapshot_id)
        enforce_policy(policy.check_image(self._policy, snapshot))
        obstacle = image_obstacle(snapshot)
        if obstacle is not None:
            raise RefusedError(
                f"No image can be made of snapshot {snapshot.id} now: {obstacle}.", NOTHING_CHANGED
            )
        if await self._reader.find_image(order.name) is not None:
            raise RefusedError(
                f"An image named {quoted(order.name)} exists already.",
                f"{NOTHING_CHANGED} Choose another name.",
            )

    async def _seen(self, order: CreateImageRequest, made: CustomImage) -> ImageResult:
        async def look() -> CustomImage | None:
            return await find_created_image(self._reader, order.snapshot_id, order.name)

        waited = await poll_until(
            None,
            look,
            lambda image: image is not None,
            lambda _: f"Image {quoted(order.name)} is being made",
            seconds=IMAGE_TIMEOUT_SECONDS,
            clock=self._clock,
        )
        if waited.last is not None:
            return _result(order, "created", _GOES_TOGETHER, waited.last)
        later = (
            "The cloud accepted the order, but the image was not seen yet. Call inspect_snapshot"
            f" with {order.snapshot_id} later, which tells the derived image; do not order it"
            f" again. {_GOES_TOGETHER}"
        )
        return _result(order, "pending", later, made)

    async def events(self, snapshot_id: int, limit: int, cursor: str) -> SnapshotEventList:
        """One page of what happened to a snapshot, newest first.

        Raises:
            RefusedError: the cursor is not of this list.
            NotFound: there is no such snapshot.
            CloudError: the cloud gave no usable answer.
        """
        shown = PageBuilder[SnapshotEvent](limit, position_of(cursor, snapshot_id))
        foreign = 0

        def keep(entry: RawEntry) -> None:
            nonlocal foreign
            # What happened to another snapshot must not be told as if it had happened to this one.
            if read_integer(entry.raw.get("snapshot_id")) not in (None, snapshot_id):
                foreign += 1
                return
            event = parse_event(entry)
            shown.add(_position(event), event)

        collected = PageCollector[None](keep)
        collected.take(await self._reader.get_snapshot_events(snapshot_id))
        return SnapshotEventList(
            snapshot_id=snapshot_id,
            events=tuple(shown.entries),
            total=shown.count,
            next_cursor=shown.cursor(snapshot_id),
            unreadable=(collected.unreadable + foreign) or None,
        )


def _position(event: SnapshotEvent) -> Position:
    happened = ((event.time or _LONG_AGO) - _LONG_AGO).total_seconds()
    return -int(happened * 1_000), -event.id


def _result(
    order: CreateImageRequest,
    outcome: Literal["created", "pending", "failed", "unknown"],
    next_step: str,
    image: CustomImage | None = None,
) -> ImageResult:
    return ImageResult(
        outcome=outcome,
        snapshot_id=order.snapshot_id,
        image=None if image is None else ImageSummary.from_image(image),
        next_step=next_step,
    )
