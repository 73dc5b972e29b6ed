"""The embedded cloud's OpenAPI document: valid, complete, and consistent with its behaviour."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from snapshot_mcp.sandbox import store
from snapshot_mcp.sandbox.app import create_app
from snapshot_mcp.sandbox.errors import ApiError
from snapshot_mcp.sandbox.request import MAX_NAME_LENGTH, NAME_PATTERN, validate_name
from snapshot_mcp.sandbox.seed import seed_database
from tests.sandbox.conftest import GOLDEN, KEY, NEWEST, NOTEBOOK, TRAINING_BOX, Cloud
from tests.sandbox.contract_check import CHECKS, PHASES, Findings, check_contract
from tests.sandbox.sandbox_process import start_sandbox
from tests.waiting import START_TIMEOUT_SECONDS

Json = dict[str, Any]
DELETED_VM = 793702
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FIXED_PHASES = {"examples", "coverage"}
SECONDS = 50
METHODS = {"get", "post", "put", "patch", "delete", "head", "options", "trace"}


def operations(document: Json) -> Generator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method in METHODS
            yield method, path, operation


@pytest.fixture
async def document(cloud: Cloud) -> Json:
    return await cloud.get("/openapi.json")


async def test_the_document_needs_no_key_and_no_database(cloud: Cloud) -> None:
    cloud.http.headers.pop("api_key")
    assert (await cloud.get("/openapi.json"))["openapi"] == "3.1.0"
    assert not cloud.database.parent.exists()


@pytest.mark.slow
def test_the_document_is_not_imported_at_start() -> None:
    code = (
        "import sys, snapshot_mcp.cli.main, snapshot_mcp.mcp_server.app, snapshot_mcp.sandbox.app;"
        "print(*[name for name in sys.modules if name.startswith('snapshot_mcp.sandbox.')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_SECONDS,
        check=True,
    )
    modules = {name.removeprefix("snapshot_mcp.sandbox.") for name in result.stdout.split()}
    assert "routes" in modules
    assert not [name for name in modules if name.startswith("openapi.")]


async def test_the_document_has_exactly_the_routes(cloud: Cloud, document: Json) -> None:
    app = create_app(database=cloud.database, api_key=KEY, now=lambda: cloud.time)
    routes = {
        (method, route.path.replace(":path}", "}"))
        for route in cast("list[Route]", app.routes)
        for method in route.methods or ()
        if method != "HEAD"  # implied by GET, as the description says
    }
    (server,) = document["servers"]
    documented = {
        (method.upper(), server["url"] + path) for method, path, _ in operations(document)
    }
    assert documented == routes


@pytest.mark.no_cover
async def test_the_document_is_valid_by_the_openapi_schema(document: Json) -> None:
    schemathesis.openapi.from_dict(document).validate()


async def test_every_schema_in_the_document_is_valid(document: Json) -> None:
    components = document["components"]
    places = [*components["parameters"].values(), *components["headers"].values()]
    places += [
        response["content"]["application/json"] for response in components["responses"].values()
    ]
    for schema in [*components["schemas"].values(), *(place["schema"] for place in places)]:
        Draft202012Validator.check_schema(schema)


async def test_every_reference_resolves_and_every_component_is_used(document: Json) -> None:
    used = set(re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(document)))
    components = document["components"]
    kinds = components.keys() - {"securitySchemes"}
    assert used == {f"{kind}/{name}" for kind in kinds for name in components[kind]}


async def test_operation_ids_are_unique_and_path_parameters_are_declared(document: Json) -> None:
    names = Counter(operation["operationId"] for _, _, operation in operations(document))
    assert set(names.values()) == {1}
    for _, path, operation in operations(document):
        keys = [reference["$ref"].rpartition("/")[2] for reference in operation["parameters"]]
        parameters = [document["components"]["parameters"][key] for key in keys]
        in_path = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        responses = operation["responses"].values()
        links = [
            link for response_spec in responses for link in response_spec.get("links", {}).values()
        ]
        assert {link["operationId"] for link in links} <= names.keys()


@given(st.text(max_size=MAX_NAME_LENGTH + 2))
def test_the_document_and_the_cloud_accept_the_same_names(name: str) -> None:
    try:
        accepted = validate_name(name) == name
    except ApiError:
        accepted = False
    documented = len(name) <= MAX_NAME_LENGTH and re.fullmatch(NAME_PATTERN.strip("^$"), name)
    assert bool(documented) == accepted


NEW_VM: Json = {
    "name": "grafana",
    "environment_name": "ml-norway",
    "image_name": "golden-training-2404",
    "flavor_name": "n3-A100x1",
    "key_name": "team-ml-norway",
    "count": 1,
}
BODIES: dict[str, Json] = {
    "create_snapshot": {"name": "a", "description": ""},
    "restore_snapshot": {"new_vm_name": "a"},
    "create_image": {"name": "a"},
    "edit_vm_labels": {"labels": ["a"]},
    "resize_vm": {"flavor_name": "n1-cpu-small"},
    "toggle_enhanced_metrics": {"enabled": True},
    "attach_firewalls": {"firewalls": []},
    "create_security_rule": {
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": "tcp",
        "remote_ip_prefix": "198.51.100.0/24",
    },
    "create_environment": {"name": "platform", "region": "US-1"},
    "create_vms": NEW_VM,
    "update_environment": {"name": "a"},
}


def request_with_error(operation_id: str, path: str, status: int, unready: int) -> tuple[str, Json]:
    """Return a path and a body that the operation rejects with the status."""
    special: dict[tuple[str, int], tuple[str, Json]] = {
        ("delete_snapshot", 409): (f"/core/snapshots/{unready}", {}),
        ("create_vms", 409): ("/core/virtual-machines", NEW_VM),
        ("create_vms", 404): ("/core/virtual-machines", NEW_VM | {"image_name": "none"}),
        ("create_environment", 404): ("/core/environments", {"name": "a", "region": "MARS-1"}),
        ("create_environment", 409): ("/core/environments", BODIES["create_environment"]),
        ("update_environment", 409): ("/core/environments/51", {"name": "platform"}),
        ("delete_vm", 409): (f"/core/virtual-machines/{DELETED_VM}", {}),
        ("restore_snapshot", 409): (
            f"/core/snapshots/{NEWEST}/restore",
            {"new_vm_name": "grafana"},
        ),
        ("create_image", 406): (f"/core/snapshots/{GOLDEN}/image", {"name": "second"}),
        ("create_image", 409): (
            f"/core/snapshots/{NEWEST}/image",
            {"name": "golden-training-2404"},
        ),
        ("create_snapshot", 409): (
            f"/core/virtual-machines/{NOTEBOOK}/snapshots",
            {"name": "unready", "description": ""},
        ),
    }
    if (operation_id, status) in special:
        return special[operation_id, status]
    if status == 400 and "{" not in path and operation_id in BODIES:
        return path, {}
    bad = path.replace("{id}", "x").replace("{name}", "%20") + "?page=0&search=a"
    unknown = path.replace("{id}", "1").replace("{kind}", "snapshot")
    return (bad if status == 400 else unknown), BODIES.get(operation_id, {})


async def test_every_documented_error_occurs_in_its_documented_format(
    cloud: Cloud, document: Json
) -> None:
    unready = (await cloud.create(TRAINING_BOX, "unready"))["snapshot"]["id"]
    await cloud.request("DELETE", f"/core/virtual-machines/{DELETED_VM}")
    app = create_app(database=cloud.database, api_key=KEY, now=lambda: 1 // 0)  # type: ignore[arg-type]
    failing_client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url=cloud.http.base_url, headers=cloud.http.headers
    )
    checked: set[tuple[str, str]] = set()
    for method, path, operation in operations(document):
        operation_id = operation["operationId"]
        for status, response_spec in operation["responses"].items():
            if "$ref" not in response_spec:
                continue
            request_path, body = request_with_error(operation_id, path, int(status), unready)
            response = await (failing_client if status == "500" else cloud.http).request(
                method,
                request_path,
                json=body if method in {"post", "put", "patch"} else None,
                headers={"api_key": "wrong"} if status == "401" else None,
            )
            assert (operation_id, response.status_code) == (operation_id, int(status))
            documented = document["components"]["responses"][
                response_spec["$ref"].rpartition("/")[2]
            ]
            validator: Any = Draft202012Validator(
                documented["content"]["application/json"]["schema"]
            )
            validator.validate(response.json())
            checked.add((operation_id, status))
    assert len(checked) > 50


def assert_no_findings(
    findings: Findings, document: Json, phases: Collection[str] = PHASES
) -> None:
    """Assert that every check ran in every phase without findings, and every call has succeeded."""
    assert not findings.failures, "\n\n".join(findings.failures[:10])
    assert set(findings.checks) == CHECKS
    assert findings.completed_phases() & PHASES == set(phases)
    assert findings.succeeded_calls() == documented_calls(document)


def documented_calls(document: Json) -> set[str]:
    return {f"{method.upper()} {path}" for method, path, _ in operations(document)}


def accelerated_cloud(folder: Path) -> Starlette:
    """Return a cloud whose clock advances with every call, so that some snapshots are not ready."""
    time = NOON

    def now() -> datetime:
        nonlocal time
        time += timedelta(seconds=3)
        return time

    return create_app(database=folder / "probed.db", api_key=KEY, now=now)


def resetting_cloud(folder: Path) -> ASGIApp:
    """Return a cloud with a new database for every request, so that requests are independent."""
    filled, used = folder / "filled.db", folder / "used.db"
    with store.transaction(
        filled, write=True, initialize=lambda session: seed_database(session, NOON)
    ):
        pass
    cloud = create_app(database=used, api_key=KEY, now=lambda: NOON)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        shutil.copyfile(filled, used)
        await cloud(scope, receive, send)

    return app


@pytest.mark.slow
@pytest.mark.no_cover  # generated requests cover no line that other tests do not
async def test_single_requests_match_the_document(tmp_path: Path, document: Json) -> None:
    app = resetting_cloud(tmp_path)
    findings = check_contract(
        document, examples=1, phases=FIXED_PHASES, independent=True, app=app, seed=3
    )
    assert_no_findings(findings, document, FIXED_PHASES)


@pytest.mark.slow
async def test_sequences_of_requests_match_the_document(tmp_path: Path, document: Json) -> None:
    phases = PHASES - {"coverage"}
    app = accelerated_cloud(tmp_path)
    findings = Findings()
    # A few calls succeed only after certain others, which not every run contains.
    for seed in (3, 4, 5, 6):
        check_contract(
            document, examples=4, walks=30, phases=phases, app=app, seed=seed, findings=findings
        )
        if findings.succeeded_calls() == documented_calls(document):
            break
    assert_no_findings(findings, document, phases)


@pytest.mark.slow
def test_a_cloud_on_a_real_port_matches_its_document(tmp_path: Path) -> None:
    findings = Findings()
    with start_sandbox(tmp_path / "probed.db") as server:
        document = httpx.get(f"{server.url}/openapi.json").json()
        # The fixed phases run to their end. The generating phases have a time limit each.
        for phases, seconds in (
            (FIXED_PHASES, None),
            ({"fuzzing"}, SECONDS),
            ({"stateful"}, SECONDS),
        ):
            check_contract(
                document,
                examples=400,
                walks=400,
                phases=phases,
                url=server.url,
                seconds=seconds,
                findings=findings,
            )
    print(findings.checks, findings.responses, findings.requests, sep="\n")  # noqa: T201 - with -s, what was done
    assert_no_findings(findings, document)
