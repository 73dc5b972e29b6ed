"""Virtual machines and the catalogue."""

import re

from tests.sandbox.conftest import H100, HIBERNATED, NOTEBOOK, TRAINING_BOX, Cloud


async def test_a_new_cloud_lists_eight_vms_in_three_regions_oldest_first(cloud: Cloud) -> None:
    body = await cloud.get("/core/virtual-machines")
    vms = body["instances"]
    assert (body["message"], body["count"], body["page"]) == ("Getting VMs successful", 8, None)
    assert [vm["id"] for vm in vms] == list(range(793701, 793709))
    assert [vm["created_at"] for vm in vms] == sorted(vm["created_at"] for vm in vms)
    assert {vm["environment"]["region"] for vm in vms} == {"NORWAY-1", "CANADA-1", "US-1"}
    states = {vm["id"]: vm["status"] for vm in vms if vm["status"] != "ACTIVE"}
    assert states == {NOTEBOOK: "SHUTOFF", HIBERNATED: "HIBERNATED"}
    unsuitable = [vm["id"] for vm in vms if vm["flavor"]["features"]["no_snapshot"]]
    assert unsuitable == [H100]


async def test_vms_can_be_searched_filtered_and_paged(cloud: Cloud) -> None:
    async def names(**query: str) -> list[str]:
        body = await cloud.get("/core/virtual-machines", query=query)
        return [vm["name"] for vm in body["instances"]]

    assert await names(search="TRAIN") == ["training-box", "train-a100-1", "train-h100-8"]
    assert await names(environment="platform") == ["grafana", "ci-runner"]
    assert await names(environment="platform", search="ci") == ["ci-runner"]
    assert await names(environment="PLAT") == ["grafana", "ci-runner"]
    assert await names(environment="plat", exact_environment_match="true") == []
    assert len(await names(environment="platform", exact_environment_match="true")) == 2
    assert await names(environment="nowhere") == []
    assert await names(page="2", pageSize="3") == [
        "inference-a6000",
        "train-a100-1",
        "notebook-shared",
    ]


async def test_an_active_vm_is_shut_off_for_its_snapshot_and_started_again(cloud: Cloud) -> None:
    await cloud.create(TRAINING_BOX, "a")
    states: list[tuple[str, bool]] = []
    for _ in range(24):
        vm = await cloud.vm(TRAINING_BOX)
        state = (vm["status"], vm["is_snapshotting"])
        if state not in states:
            states.append(state)
        cloud.advance(0.5)
    assert states == [("STOPPING", True), ("SHUTOFF", True), ("STARTING", True), ("ACTIVE", False)]
    events = (await cloud.get(f"/core/virtual-machines/{TRAINING_BOX}/events"))["instance_events"]
    assert [event["type"] for event in events[:3]] == ["start", "shutoff", "snapshot"]
    assert events[0]["instance_id"] == TRAINING_BOX


async def test_a_vm_that_was_off_stays_off_during_its_snapshot(cloud: Cloud) -> None:
    await cloud.create(NOTEBOOK, "a")
    vm = await cloud.vm(NOTEBOOK)
    assert (vm["status"], vm["is_snapshotting"]) == ("SHUTOFF", True)
    cloud.advance(9)
    vm = await cloud.vm(NOTEBOOK)
    assert (vm["status"], vm["is_snapshotting"]) == ("SHUTOFF", False)
    events = (await cloud.get(f"/core/virtual-machines/{NOTEBOOK}/events"))["instance_events"]
    assert [event["type"] for event in events] == ["snapshot", "creation", "creation"]


async def test_snapshots_show_the_current_state_of_their_vm(cloud: Cloud) -> None:
    snapshot_id = (await cloud.create(TRAINING_BOX, "a"))["snapshot"]["id"]
    cloud.advance(2)
    assert (await cloud.snapshot(snapshot_id))["vm_status"] == "SHUTOFF"
    cloud.advance(10)
    assert (await cloud.snapshot(snapshot_id))["vm_status"] == "ACTIVE"


async def test_an_unknown_vm_is_not_found(cloud: Cloud) -> None:
    body = await cloud.get("/core/virtual-machines/793869", 404)
    assert body["message"] == "VM 793869 does not exists."
    await cloud.get("/core/virtual-machines/793869/events", 404)


async def test_regions_environments_and_images_are_listed(cloud: Cloud) -> None:
    regions = (await cloud.get("/core/regions"))["regions"]
    environments = await cloud.get("/core/environments")
    groups = (await cloud.get("/core/images"))["images"]
    assert [region["name"] for region in regions] == ["NORWAY-1", "CANADA-1", "US-1"]
    assert environments["count"] == len(environments["environments"]) == 5
    assert [(group["region_name"], group["type"]) for group in groups] == [
        ("NORWAY-1", "Ubuntu"),
        ("CANADA-1", "Ubuntu"),
        ("US-1", "Ubuntu"),
        ("NORWAY-1", "Snapshot"),
    ]
    custom_images = [
        image["name"] for group in groups for image in group["images"] if not image["is_public"]
    ]
    assert custom_images == ["golden-training-2404"]


async def test_prices_are_a_bare_list_of_texts_that_covers_every_gpu(cloud: Cloud) -> None:
    prices = await cloud.get("/pricebook")
    assert all(re.fullmatch(r"\d+\.\d{9}", price["value"]) for price in prices)
    vms = (await cloud.get("/core/virtual-machines"))["instances"]
    gpus = {vm["flavor"]["gpu"] for vm in vms} - {""}
    assert gpus | {"vCPU", "RAM", "Cloud-SSD"} <= {price["name"] for price in prices}


async def test_a_deleted_vm_is_gone_but_its_snapshots_remain(cloud: Cloud) -> None:
    path = f"/core/virtual-machines/{NOTEBOOK}"
    body = await cloud.request("DELETE", path)
    assert body == {"status": True, "message": "Instance is being deleted."}
    assert (await cloud.vm(NOTEBOOK))["status"] == "DELETING"
    await cloud.request("DELETE", path, 409)
    cloud.advance(2)
    await cloud.get(path, 404)
    await cloud.request("DELETE", path, 404)
    page = await cloud.get("/core/snapshots", query={"search": "notebook"})
    assert {snapshot["vm_status"] for snapshot in page["snapshots"]} == {"DELETED"}
    restored = (await cloud.restore(page["snapshots"][0]["id"], "notebook-shared"))["instances"][0]
    assert restored["id"] > NOTEBOOK


async def test_a_vm_cannot_be_deleted_while_a_snapshot_of_it_is_created(cloud: Cloud) -> None:
    await cloud.create(TRAINING_BOX, "a")
    path = f"/core/virtual-machines/{TRAINING_BOX}"
    assert "no operation can be performed" in (await cloud.request("DELETE", path, 400))["message"]
    cloud.advance(60)
    await cloud.request("DELETE", path)
