"""What callers see of virtual machines and of the catalogue."""

import re

from tests.sandbox.conftest import H100, HIBERNATED, NOTEBOOK, TRAINING_BOX, Cloud


async def test_a_new_cloud_holds_eight_vms_in_three_regions_oldest_first(cloud: Cloud) -> None:
    body = await cloud.get("/core/virtual-machines")
    vms = body["instances"]
    assert (body["message"], body["count"], body["page"]) == ("Getting VMs successful", 8, None)
    assert [it["id"] for it in vms] == list(range(793701, 793709))
    assert [it["created_at"] for it in vms] == sorted(it["created_at"] for it in vms)
    assert {it["environment"]["region"] for it in vms} == {"NORWAY-1", "CANADA-1", "US-1"}
    states = {it["id"]: it["status"] for it in vms if it["status"] != "ACTIVE"}
    assert states == {NOTEBOOK: "SHUTOFF", HIBERNATED: "HIBERNATED"}
    unfit = [it["id"] for it in vms if it["flavor"]["features"]["no_snapshot"]]
    assert unfit == [H100]


async def test_vms_are_searched_filtered_and_paged(cloud: Cloud) -> None:
    async def names(**query: str) -> list[str]:
        body = await cloud.get("/core/virtual-machines", query=query)
        return [it["name"] for it in body["instances"]]

    assert await names(search="TRAIN") == ["training-box", "train-a100-1", "train-h100-8"]
    assert await names(environment="platform") == ["grafana", "ci-runner"]
    assert await names(environment="platform", search="ci") == ["ci-runner"]
    assert await names(environment="nowhere") == []
    assert await names(page="2", pageSize="3") == [
        "inference-a6000",
        "train-a100-1",
        "notebook-shared",
    ]


async def test_an_active_vm_is_shut_off_for_its_snapshot_and_started_again(cloud: Cloud) -> None:
    await cloud.create(TRAINING_BOX, "a")
    seen: list[tuple[str, bool]] = []
    for _ in range(24):
        vm = await cloud.vm(TRAINING_BOX)
        state = (vm["status"], vm["is_snapshotting"])
        if state not in seen:
            seen.append(state)
        cloud.advance(0.5)
    assert seen == [("STOPPING", True), ("SHUTOFF", True), ("STARTING", True), ("ACTIVE", False)]
    events = (await cloud.get(f"/core/virtual-machines/{TRAINING_BOX}/events"))["instance_events"]
    assert [it["type"] for it in events[:3]] == ["start", "shutoff", "snapshot"]
    assert events[0]["instance_id"] == TRAINING_BOX


async def test_a_vm_that_was_off_stays_off_through_its_snapshot(cloud: Cloud) -> None:
    await cloud.create(NOTEBOOK, "a")
    vm = await cloud.vm(NOTEBOOK)
    assert (vm["status"], vm["is_snapshotting"]) == ("SHUTOFF", True)
    cloud.advance(9)
    vm = await cloud.vm(NOTEBOOK)
    assert (vm["status"], vm["is_snapshotting"]) == ("SHUTOFF", False)
    events = (await cloud.get(f"/core/virtual-machines/{NOTEBOOK}/events"))["instance_events"]
    assert [it["type"] for it in events] == ["snapshot", "creation", "creation"]


async def test_snapshots_show_the_state_of_their_vm_now(cloud: Cloud) -> None:
    made = (await cloud.create(TRAINING_BOX, "a"))["snapshot"]["id"]
    cloud.advance(2)
    assert (await cloud.snapshot(made))["vm_status"] == "SHUTOFF"
    cloud.advance(10)
    assert (await cloud.snapshot(made))["vm_status"] == "ACTIVE"


async def test_an_unknown_vm_is_not_found(cloud: Cloud) -> None:
    body = await cloud.get("/core/virtual-machines/793869", 404)
    assert body["message"] == "VM 793869 does not exists."
    await cloud.get("/core/virtual-machines/793869/events", 404)


async def test_regions_environments_and_images_are_told(cloud: Cloud) -> None:
    regions = (await cloud.get("/core/regions"))["regions"]
    environments = await cloud.get("/core/environments")
    groups = (await cloud.get("/core/images"))["images"]
    assert [it["name"] for it in regions] == ["NORWAY-1", "CANADA-1", "US-1"]
    assert environments["count"] == len(environments["environments"]) == 4
    assert [(it["region_name"], it["type"]) for it in groups] == [
        ("NORWAY-1", "Ubuntu"),
        ("CANADA-1", "Ubuntu"),
        ("US-1", "Ubuntu"),
    ]
    own = [it["name"] for group in groups for it in group["images"] if not it["is_public"]]
    assert own == ["golden-training-2404"]


async def test_prices_are_a_bare_list_of_texts_that_cover_every_gpu(cloud: Cloud) -> None:
    prices = await cloud.get("/pricebook")
    assert all(re.fullmatch(r"\d+\.\d{9}", it["value"]) for it in prices)
    vms = (await cloud.get("/core/virtual-machines"))["instances"]
    gpus = {it["flavor"]["gpu"] for it in vms} - {""}
    assert gpus | {"vCPU", "RAM", "Cloud-SSD"} <= {it["name"] for it in prices}


async def test_a_deleted_vm_is_gone_and_its_snapshots_outlive_it(cloud: Cloud) -> None:
    path = f"/core/virtual-machines/{NOTEBOOK}"
    body = await cloud.request("DELETE", path)
    assert body == {"status": True, "message": f"VM {NOTEBOOK} is being deleted"}
    await cloud.get(path, 404)
    await cloud.request("DELETE", path, 404)
    found = await cloud.get("/core/snapshots", query={"search": "notebook"})
    assert {it["vm_status"] for it in found["snapshots"]} == {"DELETED"}
    restored = (await cloud.restore(found["snapshots"][0]["id"], "notebook-shared"))["instances"][0]
    assert restored["id"] > NOTEBOOK


async def test_a_vm_is_not_deleted_while_a_snapshot_of_it_is_made(cloud: Cloud) -> None:
    await cloud.create(TRAINING_BOX, "a")
    path = f"/core/virtual-machines/{TRAINING_BOX}"
    assert "no operation can be performed" in (await cloud.request("DELETE", path, 400))["message"]
    cloud.advance(60)
    await cloud.request("DELETE", path)
