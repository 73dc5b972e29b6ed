"""The files of docs/deploy are ones that this server starts with: its settings, its arguments."""

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
from snapshot_mcp.settings.environment import read_settings
from snapshot_mcp.settings.reference import SETTINGS
from snapshot_mcp.transports.http.monitoring import HEALTH_PATH
from snapshot_mcp.transports.http.scopes import SCOPE_OF_TOOL, SCOPES
from snapshot_mcp.transports.http.settings import (
    HttpSettings,
    check_exposure,
    read_http_settings,
)
from snapshot_mcp.transports.shutdown import SHUTDOWN_TIMEOUT_SECONDS

FOLDER = Path(__file__).parents[2] / "docs/deploy"
PAGE = FOLDER.with_suffix(".md").read_text(encoding="utf-8")
NAMES = {name for setting in SETTINGS for name in setting.names}
SECRET = {name for setting in SETTINGS if setting.secret for name in setting.names}
FILLED_IN = "c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2gtZm9yLWFsbC1vZi10aGVt"
ADDRESS = "postgresql://team@db.example/snapshots"
_NAME = re.compile(r"\bSNAPSHOT_MCP_[A-Z_]+")


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def starts(words: Sequence[str], environment: Mapping[str, str]) -> HttpSettings:
    """What a server with these arguments and settings would serve; it must be one for a team."""
    assert environment.keys() <= NAMES
    arguments = parse(words)
    assert (arguments.command, arguments.transport) == ("serve", "http")
    settings, service = read_settings(environment), read_http_settings(environment)
    assert not settings.embedded
    # Whoever has no folder keeps nothing on its machine.
    shared = settings.database_url is not None and settings.signing_key is not None
    assert shared == (settings.data_dir is None)
    assert service.requires_authentication
    check_exposure(arguments.host, service)
    return service


def assigned(lines: str) -> dict[str, str]:
    """The settings of an environment file, with something in place of each secret."""
    pairs = dict(it.split("=", 1) for it in lines.splitlines() if it and not it.startswith("#"))
    return {name: value or FILLED_IN for name, value in pairs.items()}


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_every_setting_that_a_file_names_exists_and_the_page_tells_of_the_file(path: Path) -> None:
    assert set(_NAME.findall(path.read_text(encoding="utf-8"))) <= NAMES
    assert f"](deploy/{path.name})" in PAGE


def test_every_setting_and_scope_that_the_page_names_exists() -> None:
    assert set(_NAME.findall(PAGE)) <= NAMES
    assert set(re.findall(r"snapshots:\w+", PAGE)) == set(SCOPES)
    rows = dict(re.findall(r"^\| `(snapshots:(?:write|delete))` \| (.*) \|$", PAGE, re.MULTILINE))
    for scope, tools in rows.items():
        told = set(re.findall(r"`(\w+)`", tools))
        assert told == {tool for tool, needed in SCOPE_OF_TOOL.items() if needed == scope}


def test_the_unit_of_systemd_starts_the_service() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] - as its manual says
    unit.read_string(text("snapshot-mcp.service"))
    service = unit["Service"]
    name, _, value = service["Environment"].partition("=")
    command = shlex.split(service["ExecStart"])
    assert Path(command[0]).name == "snapshot-mcp"
    starts(command[1:], assigned(text("environment")) | {name: value})
    assert value == f"/var/lib/{service['StateDirectory']}"
    assert int(service["TimeoutStopSec"]) > SHUTDOWN_TIMEOUT_SECONDS
    assert int(service["RestartPreventExitStatus"]) == BAD_SETTINGS


def test_the_container_starts_the_service() -> None:
    file = text("Containerfile")
    command: list[str] = json.loads(re.findall(r"^CMD (.*)$", file, re.MULTILINE)[0])
    environment = dict(re.findall(r"^ENV (\w+)=(.*)$", file, re.MULTILINE))
    starts(command, assigned(text("environment")) | environment)
    assert f"EXPOSE {parse(command).port}\n" in file
    assert f":{parse(command).port}{HEALTH_PATH}'" in file
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", file, re.MULTILINE)
    # Without the extra, a replica would end at its start.
    assert 'pip install --no-cache-dir "$(echo /tmp/snapshot_mcp-*.whl)[service]"' in file


def manifest() -> dict[str, Any]:
    """What the manifest holds, by kind."""
    yaml: Any = importlib.import_module("yaml")  # it has no types
    return {it["kind"]: it for it in yaml.safe_load_all(text("kubernetes.yaml"))}


def variables(container: dict[str, Any]) -> dict[str, str]:
    """The settings of a container, with something in place of each secret."""
    filled_in = {"SNAPSHOT_MCP_DATABASE_URL": ADDRESS}
    return {
        it["name"]: it.get("value", filled_in.get(it["name"], FILLED_IN)) for it in container["env"]
    }


def test_the_manifest_for_kubernetes_starts_the_service_and_takes_secrets_from_the_secret() -> None:
    things = manifest()
    assert things.keys() == {"Secret", "Deployment", "PodDisruptionBudget", "Service"}
    (container,) = things["Deployment"]["spec"]["template"]["spec"]["containers"]
    held = {it["name"]: it["valueFrom"] for it in container["env"] if "valueFrom" in it}
    assert held.keys() == SECRET & {it["name"] for it in container["env"]}
    keys = {it["secretKeyRef"]["key"] for it in held.values()}
    assert keys == things["Secret"]["stringData"].keys()
    assert not any(things["Secret"]["stringData"].values())
    starts(container["args"], variables(container))
    port = parse(container["args"]).port
    assert [it["containerPort"] for it in container["ports"]] == [port]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] == HEALTH_PATH


def test_the_manifest_runs_replicas_that_share_all_they_keep_and_end_in_turn() -> None:
    things = manifest()
    deployment = things["Deployment"]["spec"]
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
    assert things["Service"]["spec"]["selector"] == labels
    assert things["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
