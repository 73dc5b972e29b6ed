"""New VMs from images, settings of VMs, and changes of environments."""

from typing import Any

import pytest

from tests.sandbox.conftest import HIBERNATED, NOTEBOOK, TRAINING_BOX, Cloud

NEW_VM: dict[str, Any] = {
    "name": "made",
    "environment_name": "ml-norway",
    "image_name": "golden-training-2404",
    "flavor_name": "n3-A100x1",
    "key_name": "team-ml-norway",
    "count": 1,
}


async def test_vms_are_created_from_an_image(cloud: Cloud) -> None:
    body = await cloud.post("/core/virtual-machines", NEW_VM | {"count": 2, "labels": ["x"]})
    assert [vm["name"] for vm in body["instances"]] == ["made-1", "made-2"]
    long = await cloud.post("/core/virtual-machines", NEW_VM | {"count": 2, "name": "n" * 50})
    assert [len(vm["name"]) for vm in long["instances"]] == [50, 50]
    assert [vm["status"] for vm in body["instances"]] == ["CREATING", "CREATING"]
    cloud.advance(10)
    vm = await cloud.vm(body["instances"][0]["id"])
    assert (vm["status"], vm["labels"], vm["image"]["id"]) == ("ACTIVE", ["x"], 20471)
    image = await cloud.get("/core/images/20471", query={"include_related_vms": "true"})
    related = [vm["id"] for vm in image["image"]["related_vms"]]
    assert related == [HIBERNATED, *(vm["id"] for vm in body["instances"] + long["instances"])]


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"environment_name": "none"}, 404, "Environment none does not exist"),
        ({"environment_name": "ml-us"}, 404, "Image golden-training-2404 does not exist"),
        ({"flavor_name": "none"}, 404, "Flavor none does not exist"),
        ({"count": 0}, 400, "count must be a number from 1 to 20."),
        ({"colour": "red"}, 400, "colour: Unknown field."),
        ({"name": "grafana"}, 409, "Virtual machine with name 'grafana' already exists."),
    ],
)
async def test_an_impossible_vm_is_rejected(
    cloud: Cloud, change: dict[str, Any], status: int, text: str
) -> None:
    body = await cloud.post("/core/virtual-machines", NEW_VM | change, status)
    assert body["message"] == text
    assert (await cloud.get("/core/virtual-machines"))["count"] == 8


async def test_a_vm_is_resized(cloud: Cloud) -> None:
    path = f"/core/virtual-machines/{NOTEBOOK}/resize"
    await cloud.post(path, {"flavor_name": "n3-A100x1"})
    assert (await cloud.vm(NOTEBOOK))["flavor"]["name"] == "n3-A100x1"
    await cloud.post(path, {"flavor_name": "none"}, 404)


async def test_enhanced_metrics_are_enabled(cloud: Cloud) -> None:
    path = f"/core/virtual-machines/{NOTEBOOK}/enhanced-metrics"
    body = await cloud.request("PATCH", path, json={"enabled": True})
    assert body["metrics"] == (await cloud.vm(NOTEBOOK))["enhanced_metrics"] == {"enabled": True}
    await cloud.request("PATCH", path, 400, json={"enabled": "yes"})


async def test_security_rules_are_added_and_deleted(cloud: Cloud) -> None:
    path = f"/core/virtual-machines/{TRAINING_BOX}/sg-rules"
    rule = {
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "tcp",
        "remote_ip_prefix": "203.0.113.0/24",
        "port_range_min": 443,
        "port_range_max": 443,
    }
    added = (await cloud.post(path, rule))["security_rule"]
    assert added.items() >= rule.items()
    assert [entry["id"] for entry in (await cloud.vm(TRAINING_BOX))["security_rules"]] == [1, 2]
    await cloud.request("DELETE", f"{path}/1")
    assert (await cloud.vm(TRAINING_BOX))["security_rules"] == [added]
    await cloud.request("DELETE", f"{path}/1", 404)


async def test_there_are_no_firewalls_logs_or_metrics(cloud: Cloud) -> None:
    path = f"/core/virtual-machines/{NOTEBOOK}"
    await cloud.post(f"{path}/attach-firewalls", {"firewalls": []})
    refused = await cloud.post(f"{path}/attach-firewalls", {"firewalls": [7]}, 404)
    assert refused["message"] == "Firewall 7 does not exist"
    await cloud.post(f"{path}/attach-firewalls", {"firewalls": [True]}, 400)
    request_id = (await cloud.post(f"{path}/logs", {}))["request_id"]
    assert await cloud.get(f"{path}/logs", query={"request_id": str(request_id)}) == {"logs": ""}
    await cloud.get(f"{path}/logs", 404, {"request_id": "1"})
    metrics = await cloud.get(f"{path}/metrics")
    assert [metric["data"] for metric in metrics.values()] == [[]] * 6


async def test_environments_are_created_renamed_and_deleted(cloud: Cloud) -> None:
    body = await cloud.post("/core/environments", {"name": "staging", "region": "US-1"})
    created = body["environment"]["id"]
    assert (await cloud.get(f"/core/environments/{created}"))["environment"]["region"] == "US-1"
    await cloud.post("/core/environments", {"name": "staging", "region": "US-1"}, 409)
    await cloud.post("/core/environments", {"name": "other", "region": "MARS-1"}, 404)
    await cloud.request("DELETE", f"/core/environments/{created}")
    await cloud.get(f"/core/environments/{created}", 404)


async def test_an_environment_with_vms_keeps_them_under_its_new_name(cloud: Cloud) -> None:
    await cloud.request("PUT", "/core/environments/53", json={"name": "shared"})
    vms = await cloud.get("/core/virtual-machines", query={"environment": "shared"})
    assert [vm["environment"]["name"] for vm in vms["instances"]] == ["shared", "shared"]
    await cloud.request("PUT", "/core/environments/53", 409, json={"name": "ml-us"})
    await cloud.request("DELETE", "/core/environments/53", 400)
