"""The interface of a write: one change in the cloud, as the gate and crash recovery use it."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

from snapshot_mcp.cloud.client import CloudReader
from snapshot_mcp.cloud.writer import CloudWriter, RestoreReceipt
from snapshot_mcp.consent.plan_tokens import Intent
from snapshot_mcp.models.cloud import CustomImage, Snapshot

T_co = TypeVar("T_co", covariant=True)

SendCheck = Callable[[], Awaitable[None]]
"""Checks that a write is possible, allowed and still approved.

It runs before each request, and raises a RefusedError if the write must not be sent.
"""


class Write(Protocol[T_co]):
    """One change in the cloud. The classes are in `operations`, one file for each tool."""

    @property
    def intent(self) -> Intent:
        """The tool, its target and its arguments, as the plan token and the ledger hold them."""
        ...

    def send(self, writer: CloudWriter) -> Awaitable[T_co]:
        """Send the request once."""
        ...

    def find_effect(self, reader: CloudReader) -> Awaitable[T_co | None]:
        """Return the result of the write, or None while the cloud does not show its effect."""
        ...

    def is_certain(self, effect: object) -> bool:
        """Return whether a result of `find_effect` cannot be the work of another client."""
        ...

    def remark(self, result: object) -> str:
        """Return how a result differs from what was requested, for the ledger; usually empty."""
        ...


def created_at(result: object) -> datetime | None:
    """Return when the VM of a restore was created, which identifies it later; None if unknown."""
    return result.virtual_machine.created_at if isinstance(result, RestoreReceipt) else None


def created_id(result: object) -> int | None:
    """Return the id of the snapshot, VM or image that a write created, if its result has one."""
    match result:
        case Snapshot(id=number) | CustomImage(id=number):
            return number
        case RestoreReceipt(virtual_machine=vm):
            return vm.id
        case _:
            return None
