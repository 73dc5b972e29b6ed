"""The calls of the vendor's SDKs that the embedded cloud is tested with, and their results.

Both SDKs are generated from the same OpenAPI document, so their calls take the same arguments in
the same order.
"""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.sandbox.conftest import CI_RUNNER, GOLDEN, HIBERNATED, NEWEST, NOTEBOOK, TRAINING_BOX

WORKS = "works"
GRAFANA, INFERENCE, TRAIN_A100 = 793702, 793704, 793705
GOLDEN_IMAGE = 20471


class Payload(NamedTuple):
    """The body of a request: the name of its model in the Python SDK, and its fields."""

    model: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class SdkCall:
    """One call of both SDKs.

    Attributes:
        api: the class with the call, the same in both SDKs.
        python: the name of the call in the Python SDK.
        typescript: its name in the TypeScript SDK.
        expected: the path of a field in a successful body, and its value.
        arguments: the arguments of the call.
        python_result: what the Python SDK makes of the response.
    """

    api: str
    python: str
    typescript: str
    expected: tuple[str, Any]
    arguments: tuple[Any, ...] = ()
    python_result: str = WORKS


CALLS = (
    SdkCall("SnapshotsApi", "list_snapshots", "listSnapshots", ("snapshots.0.status", "SUCCESS"),
            ("1", "2", "nightly")),
    SdkCall("SnapshotsApi", "get_snapshot", "getSnapshot", ("snapshot.name", "training-box-golden"),
            (GOLDEN,), "ValidationError: the SDK expects text for the objects and lists"),
    SdkCall("SnapshotsApi", "fetch_snapshot_name_availability", "fetchSnapshotNameAvailability",
            ("available", True), ("free",)),
    SdkCall("SnapshotsApi", "restore_snapshot", "restoreSnapshot", ("instances.0.name", "restored"),
            (NEWEST, Payload("SnapshotRestoreRequest", {"new_vm_name": "restored"})),
            "works, but the SDK drops `instances`"),
    SdkCall("SnapshotsApi", "create_custom_image", "createCustomImage", ("image.name", "made"),
            (NEWEST, Payload("CreateImagePayload", {"name": "made", "labels": ["a"]})),
            "works, but the SDK drops `image`"),
    SdkCall("SnapshotsApi", "delete_snapshot", "deleteSnapshot", ("message",
            f"Snapshot {NEWEST - 1} is being deleted"), (NEWEST - 1,)),
    SdkCall("SnapshotEventsApi", "list_snapshot_events", "listSnapshotEvents",
            ("snapshot_events.0.type", "creation"), (NEWEST - 2,),
            "works, but the SDK drops the answer"),
    SdkCall("VirtualMachineApi", "list_vms", "listVMs", ("instances.0.name", "grafana"),
            (1, 2, None, "plat", None, False)),
    SdkCall("VirtualMachineApi", "get_vm", "getVM", ("instance.name", "training-box"),
            (TRAINING_BOX,)),
    SdkCall("VirtualMachineApi", "check_vm_name_availability", "checkVMNameAvailability",
            ("available", False), ("grafana",)),
    SdkCall("VirtualMachineApi", "create_snapshot_for_vm", "createSnapshotForVM",
            ("snapshot.status", "CREATING"),
            (TRAINING_BOX, Payload("CreateSnapshotPayload",
                                   {"name": "by sdk", "description": "", "labels": ["sdk"]}))),
    SdkCall("VirtualMachineApi", "add_vm_label", "addVMLabel", ("status", True),
            (GRAFANA, Payload("EditLabelOfAnExistingVMPayload", {"labels": ["prod"]}))),
    SdkCall("VirtualMachineApi", "start_vm", "startVM", ("status", True), (NOTEBOOK,)),
    SdkCall("VirtualMachineApi", "stop_vm", "stopVM", ("status", True), (GRAFANA,)),
    SdkCall("VirtualMachineApi", "hard_reboot_vm", "hardRebootVM", ("status", True), (INFERENCE,)),
    SdkCall("VirtualMachineApi", "hibernate_vm", "hibernateVM", ("status", True), (TRAIN_A100,)),
    SdkCall("VirtualMachineApi", "restore_vm_from_hibernation", "restoreVMFromHibernation",
            ("status", True), (HIBERNATED,)),
    SdkCall("VirtualMachineApi", "get_contract_vms", "getContractVMs", ("instances", []), (77,)),
    SdkCall("VirtualMachineApi", "create_vms", "createVMs", ("instances.0.name", "from-image"),
            (Payload("CreateInstancesPayload",
                     {"name": "from-image", "environment_name": "ml-norway", "count": 1,
                      "image_name": "golden-training-2404", "flavor_name": "n3-A100x1",
                      "key_name": "team-ml-norway"}),)),
    SdkCall("VirtualMachineApi", "resize_vm", "resizeVM", ("status", True),
            (CI_RUNNER, Payload("InstanceResizePayload", {"flavor_name": "n1-cpu-small"}))),
    SdkCall("VirtualMachineApi", "toggle_enhanced_metrics_for_avm", "toggleEnhancedMetricsForAVM",
            ("metrics.enabled", True),
            (CI_RUNNER, Payload("UserEnhancedMetricsPayload", {"enabled": True}))),
    SdkCall("VirtualMachineApi", "attach_firewalls_to_vm", "attachFirewallsToVM", ("status", True),
            (CI_RUNNER, Payload("AttachFirewallsToVMPayload", {"firewalls": []}))),
    SdkCall("VirtualMachineApi", "create_firewall_rule_for_vm", "createFirewallRuleForVM",
            ("security_rule.id", 1),
            (CI_RUNNER, Payload("CreateSecurityRulePayload",
                                {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
                                 "remote_ip_prefix": "198.51.100.0/24", "port_range_min": 22,
                                 "port_range_max": 22}))),
    SdkCall("VirtualMachineApi", "delete_firewall_rule_for_vm", "deleteFirewallRuleForVM",
            ("status", True), (CI_RUNNER, 1)),
    SdkCall("VirtualMachineApi", "request_vm_logs", "requestVMLogs", ("request_id", CI_RUNNER),
            (CI_RUNNER, Payload("RequestInstanceLogsPayload", {"length": 10}))),
    SdkCall("VirtualMachineApi", "get_vm_logs", "getVMLogs", ("logs", ""), (CI_RUNNER, CI_RUNNER)),
    SdkCall("VirtualMachineApi", "get_vm_metrics", "getVMMetrics", ("cpu.unit", "%"),
            (CI_RUNNER,)),
    SdkCall("VirtualMachineApi", "delete_vm", "deleteVM", ("message", "Instance is being deleted."),
            (CI_RUNNER,)),
    SdkCall("VirtualMachineEventsApi", "list_vm_events", "listVMEvents",
            ("instance_events.0.object", "virtual_machine"), (TRAINING_BOX,)),
    SdkCall("ImageApi", "list_images", "listImages", ("images.0.images.0.id", GOLDEN_IMAGE),
            ("NORWAY-1", False, "golden", 1, 5)),
    SdkCall("ImageApi", "get_image", "getImage", ("image.name", "golden-training-2404"),
            (GOLDEN_IMAGE, True)),
    SdkCall("ImageApi", "fetch_image_name_availability", "fetchImageNameAvailability",
            ("available", True), ("free",)),
    SdkCall("ImageApi", "delete_image", "deleteImage", ("status", True), (GOLDEN_IMAGE,)),
    SdkCall("RegionApi", "list_regions", "listRegions", ("regions.0.name", "NORWAY-1")),
    SdkCall("EnvironmentApi", "list_environments", "listEnvironments", ("environments.0.name",
            "platform"), ("1", "5", "platform")),
    SdkCall("EnvironmentApi", "get_environment", "getEnvironment", ("environment.name", "platform"),
            (53,)),
    SdkCall("EnvironmentApi", "fetch_environment_name_availability",
            "fetchEnvironmentNameAvailability", ("available", False), ("platform",)),
    SdkCall("EnvironmentApi", "get_environment_vm_quota", "getEnvironmentVMQuota", ("max_vms", 250),
            (53,)),
    SdkCall("EnvironmentApi", "create_environment", "createEnvironment",
            ("environment.name", "staging"),
            (Payload("CreateEnvironment", {"name": "staging", "region": "US-1"}),)),
    SdkCall("EnvironmentApi", "update_environment", "updateEnvironment",
            ("environment.name", "playground"),
            (55, Payload("UpdateEnvironment", {"name": "playground"}))),
    SdkCall("EnvironmentApi", "delete_environment", "deleteEnvironment", ("status", True), (55,)),
    SdkCall("FlavorApi", "list_flavors", "listFlavors", ("data.0.flavors.0.name", "n3-A100x1"),
            ("NORWAY-1",)),
    SdkCall("StockApi", "get_gpu_stock", "getGPUStock", ("stocks.0.models.0.available", "12")),
    SdkCall("PricebookApi", "get_pricebook", "getPricebook", ("0.name", "vCPU"), (),
            "ValidationError: the SDK expects numbers for prices, which are text"),
    SdkCall("CalculateApi", "calculate_resource_billing_rate", "calculateResourceBillingRate",
            ("calculated_resource_bills.resource.name", "training-box"),
            ("virtual-machine", TRAINING_BOX)),
    SdkCall("CustomerContractApi", "list_customer_contracts", "listCustomerContracts",
            ("contracts.0.id", 77), (1, 5)),
    SdkCall("CustomerContractApi", "retrieve_contract", "retrieveContract", ("contracts.id", 77),
            (77,)),
    SdkCall("CustomerContractApi", "get_contract_gpu_allocation_graph",
            "getContractGPUAllocationGraph", ("contract.total_gpu_allocation", 8),
            (77, "2026-01-01T00:00:00", "2026-02-01T00:00:00")),
    SdkCall("CreditApi", "get_user_credit", "getUserCredit", ("data.credit", 250.0)),
    SdkCall("BillingApi", "list_snapshot_billing_history", "listSnapshotBillingHistory",
            ("billing_history_snapshot.billing_history.0.attributes.infrahub_id", GOLDEN),
            ("2026-01-01T00:00:00", "2036-01-01T00:00:00", "golden", 5, 1),
            "works, but the SDK drops `billing_history_snapshot`"),
    SdkCall("UserPermissionApi", "list_my_user_permissions", "listMyUserPermissions",
            ("permissions.0.resource", "virtual-machine")),
)  # fmt: skip


def value_at(body: Any, path: str) -> Any:  # noqa: ANN401 - JSON of any type
    """Return the value at a path such as `snapshots.0.name`, None if it is absent."""
    try:
        for key in path.split("."):
            body = body[int(key)] if key.isdigit() else body[key]
    except (KeyError, IndexError, TypeError):
        return None
    return body


def table() -> str:
    """Return the table of the documentation."""
    rows = ["| API | Python SDK | TypeScript SDK | Result in Python | Result in TypeScript |"]
    rows.append("|---|---|---|---|---|")
    for call in CALLS:
        row = (call.api, f"`{call.python}`", f"`{call.typescript}`", call.python_result, WORKS)
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows)


def module_name(name: str) -> str:
    """Return the module of a class in the Python SDK."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
