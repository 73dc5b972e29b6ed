"""Operations on snapshots."""

from tests.sandbox.conftest import CI_RUNNER, FAILED, GOLDEN, NEWEST, NOTEBOOK, TRAINING_BOX, Cloud

ATTRIBUTES = {
    "id", "name", "status", "vm_id", "size", "region_id", "is_image", "labels", "description",
    "has_floating_ip", "created_at", "updated_at", "region", "vm_name", "vm_status",
    "vm_environment", "vm_flavor", "vm_image", "vm_keypair", "volume_id", "volume_name",
    "custom_image",
}  # fmt: skip


async def test_a_new_cloud_lists_thirty_snapshots_newest_first(cloud: Cloud) -> None:
    body = await cloud.get("/core/snapshots")
    created = [snapshot["created_at"] for snapshot in body["snapshots"]]
    assert (body["status"], body["count"], len(created)) == (True, 30, 30)
    assert created == sorted(created, reverse=True)
    assert created[0] < "2026-11-20T12:00:00Z"


async def test_every_listed_snapshot_has_every_attribute(cloud: Cloud) -> None:
    for snapshot in (await cloud.get("/core/snapshots"))["snapshots"]:
        assert set(snapshot) == ATTRIBUTES


async def test_a_snapshot_is_read_as_it_is_listed_and_the_status_is_the_number_200(
    cloud: Cloud,
) -> None:
    body = await cloud.get(f"/core/snapshots/{GOLDEN}")
    listed = (await cloud.get("/core/snapshots"))["snapshots"]
    assert body["status"] == 200
    assert body["status"] is not True
    assert body["snapshot"] in listed


async def test_the_seed_has_a_failed_snapshot_one_with_an_image_and_one_of_a_deleted_vm(
    cloud: Cloud,
) -> None:
    snapshots = (await cloud.get("/core/snapshots"))["snapshots"]
    failed = [snapshot for snapshot in snapshots if snapshot["status"] == "ERROR"]
    images = [snapshot for snapshot in snapshots if snapshot["is_image"]]
    orphans = [snapshot for snapshot in snapshots if snapshot["vm_status"] == "DELETED"]
    assert [(snapshot["id"], snapshot["size"]) for snapshot in failed] == [(FAILED, 0)]
    assert [(snapshot["id"], snapshot["custom_image"]["is_public"]) for snapshot in images] == [
        (GOLDEN, False)
    ]
    assert len(orphans) == 1
    await cloud.get(f"/core/virtual-machines/{orphans[0]['vm_id']}", 404)


async def test_creating_a_snapshot_takes_time_and_ends_in_success(cloud: Cloud) -> None:
    path = f"/core/virtual-machines/{TRAINING_BOX}/snapshots"
    request_body = {"name": "manual", "description": "first", "labels": ["keep"]}
    body = await cloud.post(path, request_body, 201)
    created = body["snapshot"]
    assert body["message"] == "Snapshot creation is scheduled."
    assert (created["status"], created["size"]) == ("CREATING", 0)
    assert (created["name"], created["description"], created["labels"]) == (
        "manual",
        "first",
        ["keep"],
    )
    cloud.advance(3.9)
    assert (await cloud.snapshot(created["id"]))["status"] == "CREATING"
    cloud.advance(4.1)
    ready = await cloud.snapshot(created["id"])
    assert ready["status"] == "SUCCESS"
    assert ready["size"] > 0
    assert ready["created_at"] == created["created_at"] == created["updated_at"]
    assert ready["updated_at"] > ready["created_at"]
    assert (await cloud.get("/core/snapshots"))["snapshots"][0] == ready


async def test_ids_are_never_reused(cloud: Cloud) -> None:
    first = (await cloud.create(NOTEBOOK, "one"))["snapshot"]["id"]
    cloud.advance(10)
    await cloud.delete(first)
    await cloud.create(NOTEBOOK, "one", 409)
    cloud.advance(2)
    assert (await cloud.create(NOTEBOOK, "one"))["snapshot"]["id"] == first + 1


async def test_the_first_snapshot_of_a_vm_is_full_and_later_ones_are_smaller(cloud: Cloud) -> None:
    sizes = [
        snapshot["size"]
        for snapshot in reversed((await cloud.get("/core/snapshots"))["snapshots"])
        if snapshot["vm_id"] == TRAINING_BOX
    ]
    assert min(sizes) > 0
    assert sizes[0] > 3 * max(sizes[1:])


async def test_later_snapshots_stay_usable_when_the_full_one_is_deleted(cloud: Cloud) -> None:
    await cloud.delete(GOLDEN)
    await cloud.restore(NEWEST, "from-a-later-one")


async def test_a_deletion_takes_a_moment_and_is_accepted_once(cloud: Cloud) -> None:
    before = await cloud.snapshot(NEWEST)
    body = await cloud.delete(NEWEST)
    assert body == {"status": True, "message": f"Snapshot {NEWEST} is being deleted"}
    during = await cloud.snapshot(NEWEST)
    assert during == before | {"status": "DELETING"}
    assert (await cloud.get("/core/snapshots"))["snapshots"][0] == during
    assert await cloud.delete(NEWEST, 409) == {
        "status": False,
        "message": f"Snapshot {NEWEST} is already being deleted",
        "error_reason": "conflict",
    }
    message = f"Snapshot {NEWEST} is not ready to be restored"
    assert (await cloud.restore(NEWEST, "too-late", 400))["message"] == message
    availability = f"/core/snapshots/name-availability/{before['name']}"
    assert (await cloud.get(availability))["available"] is False
    cloud.advance(2)
    assert await cloud.get(f"/core/snapshots/{NEWEST}", 404) == {
        "status": False,
        "message": f"Snapshot {NEWEST} does not exist",
        "error_reason": "not_found",
    }
    await cloud.delete(NEWEST, 404)
    assert (await cloud.get("/core/snapshots"))["count"] == 29
    assert (await cloud.get(availability))["available"] is True


async def test_deleting_a_snapshot_deletes_its_image_and_returns_the_id_of_the_image(
    cloud: Cloud,
) -> None:
    image = (await cloud.snapshot(GOLDEN))["custom_image"]
    assert str(image["id"]) in (await cloud.delete(GOLDEN))["message"]
    groups = (await cloud.get("/core/images"))["images"]
    assert image["id"] not in [image["id"] for group in groups for image in group["images"]]
    body = {"name": image["name"]}
    again = (await cloud.post(f"/core/snapshots/{NEWEST}/image", body))["image"]
    assert again["id"] > image["id"]


async def test_a_restore_creates_a_new_vm_with_the_configuration_of_the_snapshot(
    cloud: Cloud,
) -> None:
    source, snapshot = await cloud.vm(TRAINING_BOX), await cloud.snapshot(NEWEST)
    body = await cloud.restore(NEWEST, "training-box-2")
    assert body["message"] == "VM is scheduled for creation."
    assert "errors" not in body
    (created,) = body["instances"]
    assert (created["name"], created["status"]) == ("training-box-2", "CREATING")
    assert created["id"] > 793708
    assert created["floating_ip"] is None
    assert created["flavor"] | {"display_name": None} == snapshot["vm_flavor"]
    assert [created[key] for key in ("power_state", "vm_state", "fixed_ip")] == [None] * 3
    assert created["volume_attachments"] == []
    assert created["image"] == snapshot["vm_image"]
    assert created["keypair"]["name"] == snapshot["vm_keypair"]["name"]
    assert created["environment"]["name"] == snapshot["vm_environment"]["name"]
    states = [(await cloud.vm(created["id"]))["status"]]
    for _ in range(3):
        cloud.advance(2.1)
        states.append((await cloud.vm(created["id"]))["status"])
    assert states == ["CREATING", "BUILD", "BUILD", "ACTIVE"]
    assert await cloud.vm(TRAINING_BOX) == source


async def test_a_valid_contract_is_kept_and_an_invalid_one_is_billed_on_demand(
    cloud: Cloud,
) -> None:
    path = f"/core/snapshots/{NEWEST}/restore"
    valid = await cloud.post(path, {"new_vm_name": "a", "contract_id": 77})
    bad = await cloud.post(path, {"new_vm_name": "b", "contract_id": 78})
    absent = await cloud.post(path, {"new_vm_name": "c", "contract_id": None})
    assert (valid["instances"][0]["contract_id"], "errors" in valid) == (77, False)
    assert (bad["instances"][0]["contract_id"], "78" in bad["errors"]["contract"]) == (None, True)
    assert (absent["instances"][0]["contract_id"], "errors" in absent) == (None, False)
    assert (await cloud.vm(bad["instances"][0]["id"]))["name"] == "b"


async def test_an_image_of_a_ready_snapshot_is_created_and_shown_with_it(cloud: Cloud) -> None:
    before = await cloud.snapshot(NEWEST)
    body = await cloud.post(f"/core/snapshots/{NEWEST}/image", {"name": "base", "labels": ["x"]})
    after = await cloud.snapshot(NEWEST)
    assert body["message"] == "Image added successfully."
    assert (body["image"]["name"], body["image"]["labels"]) == ("base", ["x"])
    assert (after["is_image"], after["custom_image"]) == (True, body["image"])
    assert after["updated_at"] == "2026-11-20T12:00:00Z" > before["updated_at"]
    groups = (await cloud.get("/core/images"))["images"]
    listed = [image for group in groups for image in group["images"] if image["name"] == "base"]
    assert [image["labels"] for image in listed] == [[{"id": 1, "label": "x"}]]


async def test_a_name_is_available_until_a_snapshot_uses_it(cloud: Cloud) -> None:
    path = "/core/snapshots/name-availability"
    free = await cloud.get(f"{path}/release%2F1%20a")
    assert (free["name"], free["available"]) == ("release/1 a", True)
    await cloud.create(TRAINING_BOX, "release/1 a")
    assert (await cloud.get(f"{path}/release%2F1%20a"))["available"] is False
    for bad in ("n" * 51, "%0A", "line%0Abreak", "end%0A", ""):
        await cloud.get(f"{path}/{bad}", 400)


async def test_events_of_a_snapshot_are_listed_newest_first_once_their_time_has_come(
    cloud: Cloud,
) -> None:
    created = (await cloud.create(TRAINING_BOX, "a"))["snapshot"]["id"]
    path = f"/core/snapshots/{created}/events"
    (first,) = (await cloud.get(path))["snapshot_events"]
    keys = {
        "id", "snapshot_id", "user_id", "org_id", "time", "type", "reason", "object", "message",
    }  # fmt: skip
    assert set(first) == keys
    assert (first["snapshot_id"], first["object"], first["type"]) == (
        created,
        "snapshot",
        "creation",
    )
    cloud.advance(10)
    await cloud.restore(created, "b")
    cloud.advance(10)
    await cloud.delete(created)
    cloud.advance(2)
    types = [event["type"] for event in (await cloud.get(path))["snapshot_events"]]
    assert types == ["deletion", "deletion", "restore", "creation", "creation"]
    await cloud.get("/core/snapshots/999/events", 404)


async def test_changes_persist_for_the_next_server(cloud: Cloud) -> None:
    created = (await cloud.create(TRAINING_BOX, "kept"))["snapshot"]["id"]
    await cloud.delete(NEWEST)
    next_server = Cloud(cloud.database)
    next_server.advance(2)
    async with next_server.http:
        assert (await next_server.snapshot(created))["name"] == "kept"
        await next_server.delete(NEWEST, 404)
        assert (await next_server.get("/core/snapshots"))["count"] == 30


async def test_a_vm_on_a_bootable_volume_cannot_be_snapshotted(cloud: Cloud) -> None:
    (attachment,) = (await cloud.vm(CI_RUNNER))["volume_attachments"]
    assert attachment["volume"]["bootable"] is True
    body = await cloud.create(CI_RUNNER, "impossible", 400)
    assert "bootable volume" in body["message"]
    assert (await cloud.get("/core/snapshots"))["count"] == 30
