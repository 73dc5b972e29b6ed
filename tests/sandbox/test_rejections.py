"""Rejected requests, after which nothing has changed."""

import anyio
import pytest

from tests.sandbox.conftest import FAILED, GOLDEN, H100, HIBERNATED, NEWEST, TRAINING_BOX, Cloud


async def test_a_vm_is_busy_from_the_start_of_its_snapshot_until_it_runs_again(
    cloud: Cloud,
) -> None:
    await cloud.create(TRAINING_BOX, "one")
    for seconds in (0, 2, 4.2):
        cloud.advance(seconds)
        assert await cloud.create(TRAINING_BOX, "two", 400) == {
            "status": False,
            "message": f"VM {TRAINING_BOX} is currently being used to create a snapshot"
            " and no operation can be performed.",
            "error_reason": "bad_request",
        }
    cloud.advance(5)
    await cloud.create(TRAINING_BOX, "two")


async def test_a_ready_snapshot_can_be_restored_while_its_vm_is_busy(cloud: Cloud) -> None:
    await cloud.create(TRAINING_BOX, "one")
    await cloud.restore(NEWEST, "meanwhile")


async def test_a_snapshot_that_is_not_ready_cannot_be_restored_or_deleted(cloud: Cloud) -> None:
    snapshot_id = (await cloud.create(TRAINING_BOX, "one"))["snapshot"]["id"]
    body = await cloud.restore(snapshot_id, "too-early", 400)
    assert body["message"] == f"Snapshot {snapshot_id} is not ready to be restored"
    assert (await cloud.post(f"/core/snapshots/{snapshot_id}/image", {"name": "i"}, 400))[
        "status"
    ] is False
    assert str(snapshot_id) in (await cloud.delete(snapshot_id, 409))["message"]
    cloud.advance(10)
    await cloud.restore(snapshot_id, "in-time")
    await cloud.delete(snapshot_id)


async def test_a_failed_snapshot_can_only_be_deleted(cloud: Cloud) -> None:
    await cloud.restore(FAILED, "from-nothing", 400)
    await cloud.delete(FAILED)


@pytest.mark.parametrize(
    ("vm_id", "status", "fragment"),
    [
        (H100, 400, "n3-H100x8 does not support snapshots"),
        (HIBERNATED, 400, "HIBERNATED"),
        (793655, 404, "VM 793655 was not found"),
        (42, 404, "VM 42 was not found"),
    ],
)
async def test_an_unsuitable_vm_cannot_be_snapshotted(
    cloud: Cloud, vm_id: int, status: int, fragment: str
) -> None:
    assert fragment in (await cloud.create(vm_id, "no", status))["message"]
    assert (await cloud.get("/core/snapshots"))["count"] == 30


async def test_a_vm_that_is_still_being_built_cannot_be_snapshotted(cloud: Cloud) -> None:
    snapshot_id = (await cloud.restore(NEWEST, "young"))["instances"][0]["id"]
    assert "CREATING" in (await cloud.create(snapshot_id, "early", 400))["message"]
    cloud.advance(7)
    first = (await cloud.create(snapshot_id, "early"))["snapshot"]["id"]
    cloud.advance(10)
    assert (await cloud.snapshot(first))["size"] > 30


async def test_a_name_cannot_be_used_twice(cloud: Cloud) -> None:
    taken = (await cloud.snapshot(NEWEST))["name"]
    body = await cloud.create(TRAINING_BOX, taken, 409)
    assert body["error_reason"] == "already_exist"
    assert (await cloud.restore(NEWEST, "grafana", 409))["error_reason"] == "already_exist"
    path = f"/core/snapshots/{NEWEST}/image"
    assert (await cloud.post(path, {"name": "golden-training-2404"}, 409))["status"] is False
    assert (await cloud.get("/core/virtual-machines"))["count"] == 8


async def test_a_snapshot_has_at_most_one_image(cloud: Cloud) -> None:
    body = await cloud.post(f"/core/snapshots/{GOLDEN}/image", {"name": "second"}, 406)
    assert body["status"] is False


@pytest.mark.parametrize("operation", ["restore", "image"])
async def test_an_unknown_snapshot_cannot_be_restored_or_become_an_image(
    cloud: Cloud, operation: str
) -> None:
    fields = {"new_vm_name": "a"} if operation == "restore" else {"name": "a"}
    body = await cloud.post(f"/core/snapshots/5/{operation}", fields, 404)
    text = "Snapshot 5 does not exist" if operation == "restore" else "Snapshot not found"
    assert (body["message"], body["error_reason"]) == (text, "not_found")


async def test_exactly_one_of_many_concurrent_deletes_succeeds(cloud: Cloud) -> None:
    statuses: list[int] = []

    async def delete() -> None:
        statuses.append((await cloud.http.delete(f"/core/snapshots/{NEWEST}")).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(delete)
    assert sorted(statuses) == [200] + [409] * 7


async def test_exactly_one_of_many_concurrent_snapshots_of_a_vm_starts(cloud: Cloud) -> None:
    statuses: list[int] = []

    async def create(number: int) -> None:
        path = f"/core/virtual-machines/{TRAINING_BOX}/snapshots"
        statuses.append(
            (
                await cloud.http.post(path, json={"name": f"n{number}", "description": ""})
            ).status_code
        )

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(create, number)
    assert sorted(statuses) == [201] + [400] * 7
