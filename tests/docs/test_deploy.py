"""The files in docs/deploy start the server: their settings and arguments exist and are valid."""

import configparser
import importlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from snapshot_mcp.cli.exit_codes import BAD_SETTINGS
from snapshot_mcp.cli.parser import parse
from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import read_settings
from snapshot_mcp.settings.reference import SETTINGS
from snapshot_mcp.transports.http.connections import (
    MAX_ADDRESS_SHARE,
    MAX_CONNECTIONS,
    MAX_HEADER_BYTES,
    MAX_OPEN_FILES,
    Timeouts,
)
from snapshot_mcp.transports.http.monitoring import HEALTH_PATH
from snapshot_mcp.transports.http.scopes import SCOPE_OF_TOOL, SCOPES
from snapshot_mcp.transports.http.settings import (
    HttpSettings,
    check_embedded_cloud,
    check_exposure,
    read_http_settings,
)
from snapshot_mcp.transports.shutdown import SHUTDOWN_TIMEOUT_SECONDS

FOLDER = Path(__file__).parents[2] / "docs/deploy"
PAGE = FOLDER.with_suffix(".md").read_text(encoding="utf-8")
NAMES = {name for setting in SETTINGS for name in setting.names}
SECRET_NAMES = {name for setting in SETTINGS if setting.secret for name in setting.names}
DUMMY_VALUE = "c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2gtZm9yLWFsbC1vZi10aGVt"
ADDRESS = "postgresql://team@db.example/snapshots"
_NAME = re.compile(r"\bSNAPSHOT_MCP_[A-Z_]+")


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def assert_starts(words: Sequence[str], environment: Mapping[str, str]) -> HttpSettings:
    """Check that these arguments and settings start a service for a team; return its settings."""
    assert environment.keys() <= NAMES
    arguments = parse(words)
    assert (arguments.command, arguments.transport) == ("serve", "http")
    settings, service = read_settings(environment), read_http_settings(environment)
    check_embedded_cloud(settings)
    assert not settings.embedded
    # A replica without a data folder must keep its state in the database.
    shared = settings.database_url is not None and settings.signing_key is not None
    assert shared == (settings.data_dir is None)
    assert service.requires_authentication
    check_exposure(arguments.host, service)
    return service


def read_assignments(lines: str) -> dict[str, str]:
    """Return the settings of an environment file, with a dummy value for each empty secret."""
    pairs = dict(
        line.split("=", 1) for line in lines.splitlines() if line and not line.startswith("#")
    )
    return {name: value or DUMMY_VALUE for name, value in pairs.items()}


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_every_setting_in_a_file_exists_and_the_page_links_to_the_file(path: Path) -> None:
    assert set(_NAME.findall(path.read_text(encoding="utf-8"))) <= NAMES
    assert f"](deploy/{path.name})" in PAGE


def test_every_setting_and_scope_on_the_page_exists() -> None:
    assert set(_NAME.findall(PAGE)) <= NAMES
    assert set(re.findall(r"snapshots:\w+", PAGE)) == set(SCOPES)
    rows = dict(re.findall(r"^\| `(snapshots:(?:write|delete))` \| (.*) \|$", PAGE, re.MULTILINE))
    for scope, tools in rows.items():
        documented = set(re.findall(r"`(\w+)`", tools))
        assert documented == {tool for tool, needed in SCOPE_OF_TOOL.items() if needed == scope}


@pytest.mark.parametrize("request_line", ["", "SNAPSHOT_MCP_CLOUD=embedded\n"])
def test_the_environment_file_starts_no_service_until_it_is_filled_in(request_line: str) -> None:
    lines = text("environment") + request_line
    values = dict(line.split("=", 1) for line in lines.splitlines() if line and line[0] != "#")
    assert values["SNAPSHOT_MCP_API_KEY"] == ""
    settings = read_settings(values)
    if request_line:
        check_embedded_cloud(settings)
        return
    with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_API_KEY is empty"):
        check_embedded_cloud(settings)


def test_the_systemd_unit_starts_the_service() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] - documented by configparser
    unit.read_string(text("snapshot-mcp.service"))
    service = unit["Service"]
    name, _, value = service["Environment"].partition("=")
    command = shlex.split(service["ExecStart"])
    assert Path(command[0]).name == "snapshot-mcp"
    assert_starts(command[1:], read_assignments(text("environment")) | {name: value})
    assert value == f"/var/lib/{service['StateDirectory']}"
    assert int(service["TimeoutStopSec"]) > SHUTDOWN_TIMEOUT_SECONDS
    assert int(service["RestartPreventExitStatus"]) == BAD_SETTINGS


def test_the_container_starts_the_service() -> None:
    file = text("Containerfile")
    command: list[str] = json.loads(re.findall(r"^CMD (.*)$", file, re.MULTILINE)[0])
    environment = dict(re.findall(r"^ENV (\w+)=(.*)$", file, re.MULTILINE))
    assert_starts(command, read_assignments(text("environment")) | environment)
    assert f"EXPOSE {parse(command).port}\n" in file
    assert f":{parse(command).port}{HEALTH_PATH}'" in file
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", file, re.MULTILINE)
    # Without the extra, a replica cannot start.
    assert 'pip install --no-cache-dir "$(echo /tmp/snapshot_mcp-*.whl)[service]"' in file


def manifest() -> dict[str, Any]:
    """Return the objects of the Kubernetes manifest by kind."""
    yaml: Any = importlib.import_module("yaml")  # it has no types
    return {document["kind"]: document for document in yaml.safe_load_all(text("kubernetes.yaml"))}


def variables(container: dict[str, Any]) -> dict[str, str]:
    """Return the settings of a container, with a dummy value for each secret."""
    dummies = {"SNAPSHOT_MCP_DATABASE_URL": ADDRESS}
    return {
        variable["name"]: variable.get("value", dummies.get(variable["name"], DUMMY_VALUE))
        for variable in container["env"]
    }


def test_the_kubernetes_manifest_starts_the_service_and_reads_secrets_from_its_secret() -> None:
    objects = manifest()
    assert objects.keys() == {"Secret", "Deployment", "PodDisruptionBudget", "Service"}
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    env = {variable["name"]: variable for variable in container["env"]}
    references = {name: env[name]["valueFrom"] for name in env if "valueFrom" in env[name]}
    assert references.keys() == SECRET_NAMES & env.keys()
    keys = {reference["secretKeyRef"]["key"] for reference in references.values()}
    assert keys == objects["Secret"]["stringData"].keys()
    assert not any(objects["Secret"]["stringData"].values())
    assert_starts(container["args"], variables(container))
    port = parse(container["args"]).port
    assert [entry["containerPort"] for entry in container["ports"]] == [port]
    for probe in ("readinessProbe", "livenessProbe"):
        request = container[probe]["httpGet"]
        assert request["path"] == HEALTH_PATH
        assert request["httpHeaders"] == [{"name": "Host", "value": "localhost"}]


def test_the_kubernetes_manifest_runs_replicas_that_share_their_state_and_stop_in_turn() -> None:
    objects = manifest()
    deployment = objects["Deployment"]["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert deployment["replicas"] >= 2
    assert deployment["strategy"]["type"] == "RollingUpdate"
    assert {"SNAPSHOT_MCP_DATABASE_URL", "SNAPSHOT_MCP_SIGNING_KEY"} <= variables(container).keys()
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert "volumes" not in pod
    word, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert word == "sleep"
    assert pod["terminationGracePeriodSeconds"] > int(seconds) + SHUTDOWN_TIMEOUT_SECONDS
    labels = deployment["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"] == labels
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels


def test_the_page_states_the_limits_of_connections() -> None:
    section = PAGE.split("## Limits of connections", 1)[1].split("\n## ", 1)[0]
    timeouts = Timeouts()
    for figure in (
        f"{timeouts.header:g} s for the headers of a request, {timeouts.body:g} s for its body",
        f"{MAX_HEADER_BYTES // 1024} KiB for the headers",
        f"{timeouts.read:g} s for a client to read",
        f"{MAX_CONNECTIONS:,} connections |",
        f"{MAX_CONNECTIONS * MAX_ADDRESS_SHARE:,.0f} connections from one address",
        f"limit of open files to {MAX_OPEN_FILES:,}",
    ):
        assert figure in section
