"""The embedded cloud's own OpenAPI document: well made, complete, and true."""

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
from tests.sandbox.probing import CHECKS, PHASES, Findings, check_contract
from tests.sandbox.test_serve import sandbox_process
from tests.waiting import START_TIMEOUT_SECONDS

Json = dict[str, Any]
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LISTED = {"examples", "coverage"}
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


async def test_the_document_is_told_without_the_key_and_touches_no_database(cloud: Cloud) -> None:
    cloud.http.headers.pop("api_key")
    assert (await cloud.get("/openapi.json"))["openapi"] == "3.1.0"
    assert not cloud.database.parent.exists()


def test_no_start_loads_the_document() -> None:
    code = (
        "import sys, snapshot_mcp.cli.main, snapshot_mcp.mcp_server.app, snapshot_mcp.sandbox.app;"
        "print(*[it for it in sys.modules if it.startswith('snapshot_mcp.sandbox.')])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_SECONDS,
        check=True,
    )
    rooms = {name.removeprefix("snapshot_mcp.sandbox.") for name in said.stdout.split()}
    assert "handlers" in rooms
    assert not [name for name in rooms if name.startswith("openapi.")]


async def test_every_route_is_in_the_document_and_the_other_way_round(
    cloud: Cloud, document: Json
) -> None:
    app = create_app(database=cloud.database, api_key=KEY, now=lambda: cloud.time)
    routes = {
        (method, route.path.replace(":path}", "}"))
        for route in cast("list[Route]", app.routes)
        for method in route.methods or ()
        if method != "HEAD"  # comes with every GET, and the document says so
    }
    (server,) = document["servers"]
    told = {(method.upper(), server["url"] + path) for method, path, _ in operations(document)}
    assert told == routes


@pytest.mark.no_cover
async def test_the_document_obeys_the_openapi_schema(document: Json) -> None:
    schemathesis.openapi.from_dict(document).validate()


async def test_every_schema_in_the_document_is_one(document: Json) -> None:
    components = document["components"]
    places = [*components["parameters"].values(), *components["headers"].values()]
    places += [it["content"]["application/json"] for it in components["responses"].values()]
    for schema in [*components["schemas"].values(), *(place["schema"] for place in places)]:
        Draft202012Validator.check_schema(schema)


async def test_every_reference_leads_somewhere_and_every_component_is_used(document: Json) -> None:
    used = set(re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(document)))
    components = document["components"]
    kinds = components.keys() - {"securitySchemes"}
    assert used == {f"{kind}/{name}" for kind in kinds for name in components[kind]}


async def test_operations_are_named_once_and_name_what_their_path_holds(document: Json) -> None:
    names = Counter(operation["operationId"] for _, _, operation in operations(document))
    assert set(names.values()) == {1}
    for _, path, operation in operations(document):
        keys = [it["$ref"].rpartition("/")[2] for it in operation["parameters"]]
        parameters = [document["components"]["parameters"][key] for key in keys]
        in_path = {it["name"] for it in parameters if it["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        replies = operation["responses"].values()
        links = [link for reply in replies for link in reply.get("links", {}).values()]
        assert {link["operationId"] for link in links} <= names.keys()


@given(st.text(max_size=MAX_NAME_LENGTH + 2))
def test_the_document_and_the_cloud_agree_on_names(name: str) -> None:
    try:
        taken = validate_name(name) == name
    except ApiError:
        taken = False
    told = len(name) <= MAX_NAME_LENGTH and re.fullmatch(NAME_PATTERN.strip("^$"), name)
    assert bool(told) == taken


def provocation(call: str, path: str, status: int, unready: int) -> tuple[str, Json]:
    """A path and a body that the call refuses with the status."""
    special: dict[tuple[str, int], tuple[str, Json]] = {
        ("delete_snapshot", 409): (f"/core/snapshots/{unready}", {}),
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
            {"name": "unready"},
        ),
    }
    if (call, status) in special:
        return special[call, status]
    bad = path.replace("{id}", "x").replace("{name}", "%20") + "?page=0"
    unknown = path.replace("{id}", "1")
    return (bad if status == 400 else unknown), {"name": "a", "new_vm_name": "a"}


async def test_every_refusal_in_the_document_is_given_and_looks_as_told(
    cloud: Cloud, document: Json
) -> None:
    unready = (await cloud.create(TRAINING_BOX, "unready"))["snapshot"]["id"]
    app = create_app(database=cloud.database, api_key=KEY, now=lambda: 1 // 0)  # type: ignore[arg-type]
    broken = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url=cloud.http.base_url, headers=cloud.http.headers
    )
    seen: set[tuple[str, str]] = set()
    for method, path, operation in operations(document):
        call = operation["operationId"]
        for status, reply in operation["responses"].items():
            if "$ref" not in reply:
                continue
            where, body = provocation(call, path, int(status), unready)
            response = await (broken if status == "500" else cloud.http).request(
                method,
                where,
                json=body if method == "post" else None,
                headers={"api_key": "wrong"} if status == "401" else None,
            )
            assert (call, response.status_code) == (call, int(status))
            told = document["components"]["responses"][reply["$ref"].rpartition("/")[2]]
            shape: Any = Draft202012Validator(told["content"]["application/json"]["schema"])
            shape.validate(response.json())
            seen.add((call, status))
    assert len(seen) > 50


def hold(findings: Findings, document: Json, phases: Collection[str] = PHASES) -> None:
    """Nothing was found, by every check, in every phase, and every call has succeeded too."""
    assert not findings.failures, "\n\n".join(findings.failures[:10])
    assert set(findings.checks) == CHECKS
    assert findings.completed_phases() & PHASES == set(phases)
    told = {f"{method.upper()} {path}" for method, path, _ in operations(document)}
    assert findings.succeeded_calls() == told


def hurried_cloud(folder: Path) -> Starlette:
    """A cloud where time goes by with every call: some snapshots are caught halfway."""
    time = NOON

    def now() -> datetime:
        nonlocal time
        time += timedelta(seconds=3)
        return time

    return create_app(database=folder / "probed.db", api_key=KEY, now=now)


def forgetful_cloud(folder: Path) -> ASGIApp:
    """A cloud that is new at every call, so that the request alone decides about the answer."""
    filled, used = folder / "filled.db", folder / "used.db"
    with store.transaction(filled, write=True, initialize=lambda it: seed_database(it, NOON)):
        pass
    cloud = create_app(database=used, api_key=KEY, now=lambda: NOON)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        shutil.copyfile(filled, used)
        await cloud(scope, receive, send)

    return app


@pytest.mark.no_cover  # what is drawn runs no line that the other tests do not
async def test_single_requests_are_answered_as_the_document_says(
    tmp_path: Path, document: Json
) -> None:
    app = forgetful_cloud(tmp_path)
    findings = check_contract(document, examples=1, phases=LISTED, alone=True, app=app, seed=3)
    hold(findings, document, LISTED)


@pytest.mark.slow
async def test_what_follows_from_requests_is_answered_as_the_document_says(
    tmp_path: Path, document: Json
) -> None:
    phases = PHASES - {"coverage"}
    app = hurried_cloud(tmp_path)
    hold(
        check_contract(document, examples=4, walks=30, phases=phases, app=app, seed=3),
        document,
        phases,
    )


@pytest.mark.slow
def test_the_cloud_on_a_real_port_does_what_its_document_says(tmp_path: Path) -> None:
    findings = Findings()
    with sandbox_process(tmp_path / "probed.db") as server:
        document = httpx.get(f"{server.url}/openapi.json").json()
        # What is listed is sent to its end; what is drawn has a time of its own.
        for phases, seconds in (LISTED, None), ({"fuzzing"}, SECONDS), ({"stateful"}, SECONDS):
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
    hold(findings, document)
