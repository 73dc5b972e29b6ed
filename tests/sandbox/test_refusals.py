"""What the cloud refuses, and that nothing has changed then."""

import anyio
import pytest

from tests.sandbox.conftest import FAILED, GOLDEN, H100, HIBERNATED, NEWEST, TRAINING_BOX, Cloud


async def test_a_vm_that_is_being_snapshotted_is_busy_until_it_runs_again(cloud: Cloud) -> None:
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


async def test_a_snapshot_that_is_not_ready_is_neither_restored_nor_deleted(cloud: Cloud) -> None:
    made = (await cloud.create(TRAINING_BOX, "one"))["snapshot"]["id"]
    body = await cloud.restore(made, "too-early", 400)
    assert body["message"] == f"Snapshot {made} is not ready to be restored"
    assert (await cloud.post(f"/core/snapshots/{made}/image", {"name": "i"}, 400))[
        "status"
    ] is False
    assert str(made) in (await cloud.delete(made, 409))["message"]
    cloud.advance(10)
    await cloud.restore(made, "in-time")
    await cloud.delete(made)


async def test_a_failed_snapshot_can_only_be_deleted(cloud: Cloud) -> None:
    await cloud.restore(FAILED, "from-nothing", 400)
    await cloud.delete(FAILED)


@pytest.mark.parametrize(
    ("vm_id", "status", "words"),
    [
        (H100, 400, "n3-H100x8 does not support snapshots"),
        (HIBERNATED, 400, "HIBERNATED"),
        (793655, 404, "VM 793655 does not exists."),
        (42, 404, "VM 42 does not exists."),
    ],
)
async def test_an_unfit_vm_is_not_snapshotted(
    cloud: Cloud, vm_id: int, status: int, words: str
) -> None:
    assert words in (await cloud.create(vm_id, "no", status))["message"]
    assert (await cloud.get("/core/snapshots"))["count"] == 30


async def test_a_vm_that_is_still_being_built_is_not_snapshotted(cloud: Cloud) -> None:
    made = (await cloud.restore(NEWEST, "young"))["instances"][0]["id"]
    assert "CREATING" in (await cloud.create(made, "early", 400))["message"]
    cloud.advance(7)
    first = (await cloud.create(made, "early"))["snapshot"]["id"]
    cloud.advance(10)
    assert (await cloud.snapshot(first))["size"] > 30


async def test_a_name_is_taken_once(cloud: Cloud) -> None:
    taken = (await cloud.snapshot(NEWEST))["name"]
    body = await cloud.create(TRAINING_BOX, taken, 409)
    assert body["error_reason"] == "already_exist"
    assert (await cloud.restore(NEWEST, "grafana", 409))["error_reason"] == "already_exist"
    path = f"/core/snapshots/{NEWEST}/image"
    assert (await cloud.post(path, {"name": "golden-training-2404"}, 409))["status"] is False
    assert (await cloud.get("/core/virtual-machines"))["count"] == 8


async def test_a_snapshot_has_one_image_at_most(cloud: Cloud) -> None:
    body = await cloud.post(f"/core/snapshots/{GOLDEN}/image", {"name": "second"}, 406)
    assert body["status"] is False


@pytest.mark.parametrize("call", ["restore", "image"])
async def test_nothing_is_made_of_an_unknown_snapshot(cloud: Cloud, call: str) -> None:
    body = await cloud.post(f"/core/snapshots/5/{call}", {"name": "a", "new_vm_name": "a"}, 404)
    assert body["error_reason"] == "not_found"


async def test_of_many_deletes_at_once_exactly_one_succeeds(cloud: Cloud) -> None:
    statuses: list[int] = []

    async def delete() -> None:
        statuses.append((await cloud.http.delete(f"/core/snapshots/{NEWEST}")).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(delete)
    assert sorted(statuses) == [200] + [404] * 7


async def test_of_many_snapshots_of_a_vm_at_once_exactly_one_begins(cloud: Cloud) -> None:
    statuses: list[int] = []

    async def create(number: int) -> None:
        path = f"/core/virtual-machines/{TRAINING_BOX}/snapshots"
        statuses.append((await cloud.http.post(path, json={"name": f"n{number}"})).status_code)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(create, number)
    assert sorted(statuses) == [201] + [400] * 7
