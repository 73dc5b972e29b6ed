"""Environments, flavors, permissions, prices of resources, and name checks."""

import pytest

from tests.sandbox.conftest import GOLDEN, TRAINING_BOX, Cloud


async def test_environments_are_searched_paged_and_read(cloud: Cloud) -> None:
    found = await cloud.get("/core/environments", query={"search": "ML"})
    assert [environment["name"] for environment in found["environments"]] == [
        "ml-norway",
        "ml-canada",
        "ml-us",
    ]
    page = await cloud.get("/core/environments", query={"page": "2", "pageSize": "3"})
    keys = ["status", "message", "page", "page_size", "count", "environments"]
    assert list(page) == keys
    assert (page["page"], page["page_size"], page["count"]) == (2, 3, 5)
    (_, last) = page["environments"]
    assert (await cloud.get(f"/core/environments/{last['id']}"))["environment"] == last
    await cloud.get("/core/environments/1", 404)


async def test_an_environment_has_a_quota(cloud: Cloud) -> None:
    quota = await cloud.get("/core/environments/53/vm-quota")
    assert (quota["current_vms"], quota["max_vms"], quota["available_vms"]) == (2, 250, 248)
    assert quota["percentage_used"] == 0.8
    await cloud.get("/core/environments/1/vm-quota", 404)


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        ("snapshots", "training-box-golden"),
        ("virtual-machines", "training-box"),
        ("images", "golden-training-2404"),
        ("environments", "platform"),
    ],
)
async def test_names_are_checked(cloud: Cloud, kind: str, taken: str) -> None:
    assert await cloud.get(f"/core/{kind}/name-availability/{taken}") == {
        "name": taken,
        "available": False,
        "message": "This name is not available",
    }
    free = await cloud.get(f"/core/{kind}/name-availability/free%2Fname")
    assert free == {"name": "free/name", "available": True, "message": "This name is available"}
    await cloud.get(f"/core/{kind}/name-availability/%20", 400)


async def test_flavors_are_grouped_by_region_and_gpu(cloud: Cloud) -> None:
    groups = (await cloud.get("/core/flavors"))["data"]
    assert len(groups) == len({(group["region_name"], group["gpu"]) for group in groups}) == 12
    norway = (await cloud.get("/core/flavors", query={"region": "NORWAY-1"}))["data"]
    assert norway == [group for group in groups if group["region_name"] == "NORWAY-1"]
    available = {
        flavor["name"]: flavor["stock_available"] for group in norway for flavor in group["flavors"]
    }
    assert available == {
        "n3-A100x1": True,
        "n3-RTX-A6000x1": False,
        "n3-H100x8": False,
        "n1-cpu-small": True,
        "n1-cpu-medium": True,
    }
    assert (await cloud.get("/core/flavors", query={"region": "MARS-1"}))["data"] == []


async def test_the_key_may_do_everything(cloud: Cloud) -> None:
    permissions = (await cloud.get("/auth/users/me/permissions"))["permissions"]
    allowed = {(entry["resource"], entry["permission"]) for entry in permissions}
    assert {("snapshot", "delete"), ("billing", "read")} <= allowed


async def test_the_price_of_a_resource_is_the_sum_of_its_parts(cloud: Cloud) -> None:
    path = "/pricebook/calculate/resource"
    vm = (await cloud.get(f"{path}/virtual-machine/{TRAINING_BOX}"))["calculated_resource_bills"]
    assert vm["resource"]["name"] == "training-box"
    assert vm["resource"]["price"] == pytest.approx(28 * 0.005 + 120 * 0.001 + 1.35)
    snapshot = (await cloud.get(f"{path}/snapshot/{GOLDEN}"))["calculated_resource_bills"]
    (part,) = snapshot["resource"]["resources"]
    assert (part["name"], part["amount"]) == ("Cloud-SSD", (await cloud.snapshot(GOLDEN))["size"])
    assert "resource type" in (await cloud.get(f"{path}/bucket/1", 400))["message"]


async def test_vms_of_a_contract_are_listed(cloud: Cloud) -> None:
    path = "/core/virtual-machines/contract/77/virtual-machines"
    assert (await cloud.get(path))["instances"] == []
    body = {"new_vm_name": "under-contract", "contract_id": 77}
    await cloud.post(f"/core/snapshots/{GOLDEN}/restore", body)
    assert [vm["name"] for vm in (await cloud.get(path))["instances"]] == ["under-contract"]
    await cloud.get("/core/virtual-machines/contract/78/virtual-machines", 404)


async def test_a_snapshot_is_found_by_its_id(cloud: Cloud) -> None:
    found = await cloud.get("/core/snapshots", query={"search": str(GOLDEN)})
    assert [snapshot["id"] for snapshot in found["snapshots"]] == [GOLDEN]


async def test_texts_are_those_of_the_recorded_replies(cloud: Cloud) -> None:
    listed = await cloud.get("/core/snapshots", query={"page": "1"})
    assert list(listed) == ["status", "message", "page", "page_size", "count", "snapshots"]
    assert listed["message"] == "Successfully retrieved Snapshots"
    one = await cloud.get(f"/core/snapshots/{GOLDEN}")
    assert one["message"] == f"Retrieved snapshot {GOLDEN}"
    events = await cloud.get(f"/core/snapshots/{GOLDEN}/events")
    message = "Successfully retrieved events for Snapshot training-box-golden"
    assert events["message"] == message
    await cloud.delete(GOLDEN)
    cloud.advance(2)
    assert (await cloud.get(f"/core/snapshots/{GOLDEN}/events"))["message"] == message
    vm = await cloud.get(f"/core/virtual-machines/{TRAINING_BOX}")
    assert vm["message"] == "Getting VM detail successful"
    fields = ("cluster_id", "dedicated_inference_id", "enhanced_metrics", "labels")
    assert [vm["instance"][field] for field in fields] == [None, None, {"enabled": False}, []]


async def test_a_snapshot_has_the_recorded_shape(cloud: Cloud) -> None:
    snapshot = await cloud.snapshot(GOLDEN)
    absent = ("volume_id", "volume_name")
    assert [snapshot[field] for field in absent] == [None, None]
    assert snapshot["vm_flavor"]["display_name"] is None
    assert snapshot["vm_image"]["created_at"].endswith("Z")
    assert list(snapshot["vm_keypair"]["environment"]) == ["id", "name", "features"]
    image = snapshot["custom_image"]
    expected = ("Snapshot", "training-box-golden", None)
    assert (image["type"], image["version"], image["description"]) == expected
