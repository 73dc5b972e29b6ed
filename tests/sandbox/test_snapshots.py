"""What callers can do with snapshots."""

from tests.sandbox.conftest import CI_RUNNER, FAILED, GOLDEN, NEWEST, NOTEBOOK, TRAINING_BOX, Cloud

ATTRIBUTES = {
    "id", "name", "status", "vm_id", "size", "region_id", "is_image", "labels", "description",
    "has_floating_ip", "created_at", "updated_at", "region", "vm_name", "vm_status",
    "vm_environment", "vm_flavor", "vm_image", "vm_keypair", "volume_id", "volume_name",
    "custom_image",
}  # fmt: skip


async def test_a_new_cloud_holds_thirty_snapshots_newest_first(cloud: Cloud) -> None:
    body = await cloud.get("/core/snapshots")
    created = [snapshot["created_at"] for snapshot in body["snapshots"]]
    assert (body["status"], body["count"], len(created)) == (True, 30, 30)
    assert created == sorted(created, reverse=True)
    assert created[0] < "2026-11-20T12:00:00Z"


async def test_every_listed_snapshot_has_every_attribute(cloud: Cloud) -> None:
    for snapshot in (await cloud.get("/core/snapshots"))["snapshots"]:
        assert set(snapshot) == ATTRIBUTES


async def test_a_snapshot_is_read_as_it_is_listed_with_the_number_200_as_status(
    cloud: Cloud,
) -> None:
    body = await cloud.get(f"/core/snapshots/{GOLDEN}")
    listed = (await cloud.get("/core/snapshots"))["snapshots"]
    assert body["status"] == 200
    assert body["status"] is not True
    assert body["snapshot"] in listed


async def test_the_seed_has_one_failed_one_with_an_image_and_one_without_its_vm(
    cloud: Cloud,
) -> None:
    snapshots = (await cloud.get("/core/snapshots"))["snapshots"]
    failed = [it for it in snapshots if it["status"] == "ERROR"]
    images = [it for it in snapshots if it["is_image"]]
    orphans = [it for it in snapshots if it["vm_status"] == "DELETED"]
    assert [(it["id"], it["size"]) for it in failed] == [(FAILED, 0)]
    assert [(it["id"], it["custom_image"]["is_public"]) for it in images] == [(GOLDEN, False)]
    assert len(orphans) == 1
    await cloud.get(f"/core/virtual-machines/{orphans[0]['vm_id']}", 404)


async def test_creating_a_snapshot_takes_time_and_ends_in_success(cloud: Cloud) -> None:
    path = f"/core/virtual-machines/{TRAINING_BOX}/snapshots"
    asked = {"name": "by hand", "description": "first", "labels": ["keep"], "colour": "red"}
    body = await cloud.post(path, asked, 201)
    made = body["snapshot"]
    assert body["message"] == "Snapshot creation is scheduled."
    assert (made["status"], made["size"]) == ("CREATING", 0)
    assert (made["name"], made["description"], made["labels"]) == ("by hand", "first", ["keep"])
    cloud.advance(3.9)
    assert (await cloud.snapshot(made["id"]))["status"] == "CREATING"
    cloud.advance(4.1)
    ready = await cloud.snapshot(made["id"])
    assert ready["status"] == "SUCCESS"
    assert ready["size"] > 0
    assert ready["created_at"] == made["created_at"] == made["updated_at"]
    assert ready["updated_at"] > ready["created_at"]
    assert (await cloud.get("/core/snapshots"))["snapshots"][0] == ready


async def test_ids_are_never_given_twice(cloud: Cloud) -> None:
    first = (await cloud.create(NOTEBOOK, "one"))["snapshot"]["id"]
    cloud.advance(10)
    await cloud.delete(first)
    assert (await cloud.create(NOTEBOOK, "one"))["snapshot"]["id"] == first + 1


async def test_the_first_snapshot_of_a_vm_is_full_and_later_ones_are_smaller(cloud: Cloud) -> None:
    sizes = [
        it["size"]
        for it in reversed((await cloud.get("/core/snapshots"))["snapshots"])
        if it["vm_id"] == TRAINING_BOX
    ]
    assert min(sizes) > 0
    assert sizes[0] > 3 * max(sizes[1:])


async def test_deleting_the_full_snapshot_leaves_the_later_ones_usable(cloud: Cloud) -> None:
    await cloud.delete(GOLDEN)
    await cloud.restore(NEWEST, "from-a-later-one")


async def test_a_deleted_snapshot_is_gone_at_once_and_can_be_deleted_once(cloud: Cloud) -> None:
    body = await cloud.delete(NEWEST)
    assert body == {"status": True, "message": f"Snapshot {NEWEST} is being deleted"}
    gone = await cloud.get(f"/core/snapshots/{NEWEST}", 404)
    assert gone == {
        "status": False,
        "message": f"Snapshot {NEWEST} does not exist.",
        "error_reason": "not_found",
    }
    await cloud.delete(NEWEST, 404)
    assert (await cloud.get("/core/snapshots"))["count"] == 29


async def test_deleting_a_snapshot_deletes_its_image_and_tells_the_images_id(cloud: Cloud) -> None:
    image = (await cloud.snapshot(GOLDEN))["custom_image"]
    assert str(image["id"]) in (await cloud.delete(GOLDEN))["message"]
    groups = (await cloud.get("/core/images"))["images"]
    assert image["id"] not in [it["id"] for group in groups for it in group["images"]]
    body = {"name": image["name"]}
    again = (await cloud.post(f"/core/snapshots/{NEWEST}/image", body))["image"]
    assert again["id"] > image["id"]


async def test_restoring_makes_a_new_vm_with_what_the_snapshot_holds(cloud: Cloud) -> None:
    source, snapshot = await cloud.vm(TRAINING_BOX), await cloud.snapshot(NEWEST)
    body = await cloud.restore(NEWEST, "training-box-2")
    assert body["message"] == "VM is scheduled for creation."
    assert "errors" not in body
    (made,) = body["instances"]
    assert (made["name"], made["status"]) == ("training-box-2", "CREATING")
    assert made["id"] > 793708
    assert made["floating_ip"] is None
    assert made["flavor"] == snapshot["vm_flavor"]
    assert made["image"] == snapshot["vm_image"]
    assert made["keypair"]["name"] == snapshot["vm_keypair"]["name"]
    assert made["environment"]["name"] == snapshot["vm_environment"]["name"]
    states = [(await cloud.vm(made["id"]))["status"]]
    for _ in range(3):
        cloud.advance(2.1)
        states.append((await cloud.vm(made["id"]))["status"])
    assert states == ["CREATING", "BUILD", "BUILD", "ACTIVE"]
    assert await cloud.vm(TRAINING_BOX) == source


async def test_a_valid_contract_is_kept_and_a_bad_one_makes_the_vm_on_demand(cloud: Cloud) -> None:
    path = f"/core/snapshots/{NEWEST}/restore"
    valid = await cloud.post(path, {"new_vm_name": "a", "contract_id": 77})
    bad = await cloud.post(path, {"new_vm_name": "b", "contract_id": 78})
    absent = await cloud.post(path, {"new_vm_name": "c", "contract_id": None})
    assert (valid["instances"][0]["contract_id"], "errors" in valid) == (77, False)
    assert (bad["instances"][0]["contract_id"], "78" in bad["errors"]["contract"]) == (None, True)
    assert (absent["instances"][0]["contract_id"], "errors" in absent) == (None, False)
    assert (await cloud.vm(bad["instances"][0]["id"]))["name"] == "b"


async def test_an_image_is_made_of_a_ready_snapshot_and_shown_with_it(cloud: Cloud) -> None:
    before = await cloud.snapshot(NEWEST)
    body = await cloud.post(f"/core/snapshots/{NEWEST}/image", {"name": "base", "labels": ["x"]})
    after = await cloud.snapshot(NEWEST)
    assert body["message"] == "Image added successfully."
    assert (body["image"]["name"], body["image"]["labels"]) == ("base", ["x"])
    assert (after["is_image"], after["custom_image"]) == (True, body["image"])
    assert after["updated_at"] == "2026-11-20T12:00:00Z" > before["updated_at"]
    groups = (await cloud.get("/core/images"))["images"]
    listed = [it for group in groups for it in group["images"] if it["name"] == "base"]
    assert [it["labels"] for it in listed] == [[{"id": 1, "label": "x"}]]


async def test_a_name_is_available_until_a_snapshot_has_it(cloud: Cloud) -> None:
    path = "/core/snapshots/name-availability"
    free = await cloud.get(f"{path}/release%2F1%20a")
    assert (free["name"], free["available"]) == ("release/1 a", True)
    await cloud.create(TRAINING_BOX, "release/1 a")
    assert (await cloud.get(f"{path}/release%2F1%20a"))["available"] is False
    for bad in ("n" * 51, "%0A", "line%0Abreak", "end%0A", ""):
        await cloud.get(f"{path}/{bad}", 400)


async def test_events_of_a_snapshot_are_told_newest_first_when_their_time_has_come(
    cloud: Cloud,
) -> None:
    made = (await cloud.create(TRAINING_BOX, "a"))["snapshot"]["id"]
    path = f"/core/snapshots/{made}/events"
    (first,) = (await cloud.get(path))["snapshot_events"]
    keys = {
        "id", "snapshot_id", "user_id", "org_id", "time", "type", "reason", "object", "message",
    }  # fmt: skip
    assert set(first) == keys
    assert (first["snapshot_id"], first["object"], first["type"]) == (made, "snapshot", "creation")
    cloud.advance(10)
    await cloud.restore(made, "b")
    cloud.advance(10)
    await cloud.delete(made)
    types = [it["type"] for it in (await cloud.get(path))["snapshot_events"]]
    assert types == ["deletion", "restore", "creation", "creation"]
    await cloud.get("/core/snapshots/999/events", 404)


async def test_what_was_done_is_still_there_for_the_next_server(cloud: Cloud) -> None:
    made = (await cloud.create(TRAINING_BOX, "kept"))["snapshot"]["id"]
    await cloud.delete(NEWEST)
    next_one = Cloud(cloud.database)
    async with next_one.http:
        assert (await next_one.snapshot(made))["name"] == "kept"
        await next_one.delete(NEWEST, 404)
        assert (await next_one.get("/core/snapshots"))["count"] == 30


async def test_a_vm_that_is_too_large_keeps_no_snapshot(cloud: Cloud) -> None:
    body = await cloud.create(CI_RUNNER, "too large", 400)
    assert "100 GB" in body["message"]
    assert (await cloud.get("/core/snapshots"))["count"] == 30
