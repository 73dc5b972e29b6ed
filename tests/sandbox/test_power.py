"""Power state and labels of VMs."""

import pytest

from tests.sandbox.conftest import HIBERNATED, NOTEBOOK, TRAINING_BOX, Cloud

CPU_VM = 793702


@pytest.mark.parametrize(
    ("vm_id", "operation", "during", "after"),
    [
        (TRAINING_BOX, "stop", "STOPPING", "SHUTOFF"),
        (NOTEBOOK, "start", "STARTING", "ACTIVE"),
        (TRAINING_BOX, "hard-reboot", "REBOOTING", "ACTIVE"),
        (TRAINING_BOX, "hibernate", "HIBERNATING", "HIBERNATED"),
        (HIBERNATED, "hibernate-restore", "RESTORING", "ACTIVE"),
    ],
)
async def test_the_power_state_changes_after_a_moment(
    cloud: Cloud, vm_id: int, operation: str, during: str, after: str
) -> None:
    path = f"/core/virtual-machines/{vm_id}"
    body = await cloud.get(f"{path}/{operation}")
    assert list(body) == ["status", "message"]
    assert (await cloud.vm(vm_id))["status"] == during
    message = (await cloud.get(f"{path}/{operation}", 400))["message"]
    assert f"VM {vm_id} is {during}; it must be " in message
    cloud.advance(5)
    assert (await cloud.vm(vm_id))["status"] == after
    events = (await cloud.get(f"{path}/events"))["instance_events"]
    assert events[0]["message"].startswith("A caller requested ")


async def test_a_snapshot_of_a_vm_that_was_started_interrupts_it(cloud: Cloud) -> None:
    await cloud.get(f"/core/virtual-machines/{NOTEBOOK}/start")
    await cloud.create(NOTEBOOK, "too early", 400)
    cloud.advance(5)
    await cloud.create(NOTEBOOK, "a")
    assert (await cloud.vm(NOTEBOOK))["status"] == "STOPPING"
    busy = await cloud.get(f"/core/virtual-machines/{NOTEBOOK}/stop", 400)
    assert "no operation can be performed" in busy["message"]
    cloud.advance(60)
    assert (await cloud.vm(NOTEBOOK))["status"] == "ACTIVE"


async def test_a_vm_that_is_being_deleted_cannot_be_changed(cloud: Cloud) -> None:
    path = f"/core/virtual-machines/{TRAINING_BOX}"
    await cloud.request("DELETE", path)
    assert "is DELETING" in (await cloud.get(f"{path}/stop", 400))["message"]
    assert "is DELETING" in (await cloud.create(TRAINING_BOX, "late", 400))["message"]


async def test_some_flavors_cannot_be_hibernated(cloud: Cloud) -> None:
    message = (await cloud.get(f"/core/virtual-machines/{CPU_VM}/hibernate", 400))["message"]
    assert message == "The flavor n1-cpu-small cannot be hibernated."


async def test_labels_are_replaced(cloud: Cloud) -> None:
    path = f"/core/virtual-machines/{TRAINING_BOX}/label"
    await cloud.request("PUT", path, json={"labels": ["prod", "gpu"]})
    assert (await cloud.vm(TRAINING_BOX))["labels"] == ["prod", "gpu"]
    await cloud.request("PUT", path, 400, json={"label": []})
    assert (await cloud.vm(TRAINING_BOX))["labels"] == ["prod", "gpu"]
    await cloud.request("PUT", "/core/virtual-machines/1/label", 404, json={"labels": []})
