"""Names of settings: unknown ones are found, and the closest one is suggested."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import (
    read_data_folder,
    read_database_url,
    read_sandbox_key,
    read_settings,
)
from snapshot_mcp.settings.names import SETTING_NAMES, check_names, unused_ports
from snapshot_mcp.transports.http.settings import read_http_settings

READERS = (
    read_settings,
    read_http_settings,
    read_data_folder,
    read_database_url,
    read_sandbox_key,
)


def message(environment: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check_names(environment)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("SNAPSHOT_MCP_READONLY", "SNAPSHOT_MCP_READ_ONLY"),
        ("SNAPSHOT_MCP_READ-ONLY", "SNAPSHOT_MCP_READ_ONLY"),
        ("SNAPSHOT_MCP_CONCENT", "SNAPSHOT_MCP_CONSENT"),
        ("SNAPSHOT_MCP_KEY", "SNAPSHOT_MCP_API_KEY"),
        ("SNAPSHOT_MCP_APIKEY", "SNAPSHOT_MCP_API_KEY"),
        ("SNAPSHOT_MCP_API_KEY_FILE", "SNAPSHOT_MCP_API_KEY"),
        ("SNAPSHOT_MCP_DB_URL", "SNAPSHOT_MCP_DATABASE_URL"),
        ("SNAPSHOT_MCP_POLICY_FILE", "SNAPSHOT_MCP_POLICY"),
        ("SNAPSHOT_MCP_BEARER_TOKENS", "SNAPSHOT_MCP_BEARER_TOKEN"),
        ("SNAPSHOT_MCP_ALLOWED_HOST", "SNAPSHOT_MCP_ALLOWED_HOSTS"),
        ("snapshot_mcp_read_only", "SNAPSHOT_MCP_READ_ONLY"),
        ("Snapshot_Mcp_Policy", "SNAPSHOT_MCP_POLICY"),
        ("SNAPSHOTS_MCP_READ_ONLY", "SNAPSHOT_MCP_READ_ONLY"),
        ("SNAPSHOT-MCP-CONSENT", "SNAPSHOT_MCP_CONSENT"),
        ("SNAPSHOTMCP_POLICY", "SNAPSHOT_MCP_POLICY"),
    ],
)
def test_a_misspelt_name_stops_the_start_and_the_closest_is_named(name: str, closest: str) -> None:
    for read in READERS:
        with pytest.raises(ConfigurationError) as caught:
            read({name: "canary"})
        assert name in str(caught.value)
        assert f" {closest}." in str(caught.value)
        assert "canary" not in str(caught.value)


def test_a_name_without_a_similar_one_refers_to_the_list() -> None:
    assert "snapshot-mcp doctor" in message({"SNAPSHOT_MCP_QQQQ": "1"})


def test_several_unknown_names_are_listed_and_text_in_names_is_limited() -> None:
    text = message(
        {
            "SNAPSHOT_MCP_READONLY": "1",
            "SNAPSHOT_MCP_TIMEOUTS": "1",
            "SNAPSHOT_MCP_Z\x1b[31m" + "Z" * 200: "1",
        }
    )
    assert "SNAPSHOT_MCP_TIMEOUTS" in text
    assert text.isprintable()
    assert len(text) < 300


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SNAPSHOT_MCP_PORT", "tcp://10.0.0.1:8765"),
        ("SNAPSHOT_MCP_PORT_8765_TCP", "tcp://10.0.0.1:8765"),
        ("SNAPSHOT_MCP_PORT_8765_TCP_PROTO", "tcp"),
        ("SNAPSHOT_MCP_PORT_8765_TCP_PORT", "8765"),
        ("SNAPSHOT_MCP_PORT_8765_TCP_ADDR", "10.0.0.1"),
        ("SNAPSHOT_MCP_SERVICE_HOST", "10.0.0.1"),
        ("SNAPSHOT_MCP_SERVICE_PORT", "8765"),
        ("SNAPSHOT_MCP_SERVICE_PORT_HTTP", "8765"),
        ("SNAPSHOT_MCP_APPROVALS_SERVICE_HOST", "10.0.0.1"),
        ("SNAPSHOT_MCP_ARTIFACTS", "build"),
        ("SNAPSHOT_MCP_READONLY", ""),
        ("SNAPSHOT_MCP_READONLY", " \t"),
        ("SNAPSHOT_MCP_READONLY", "${user_config.read_only}"),
        ("SNAPSHOT_MCPROXY_URL", "1"),
        ("MY_SNAPSHOT_MCP_READONLY", "1"),
        ("HYPERSTACK_REGION", "1"),
    ],
)
def test_variables_of_kubernetes_of_tests_and_without_value_are_accepted(
    name: str, value: str
) -> None:
    check_names({name: value})


def test_a_port_number_under_the_name_of_kubernetes_is_found() -> None:
    environment = {
        "SNAPSHOT_MCP_PORT": "9000",
        "SNAPSHOT_MCP_SERVICE_PORT": "8765",
        "SNAPSHOT_MCP_WEB_PORT": "tcp://10.0.0.1:80",
    }
    assert list(unused_ports(environment)) == ["SNAPSHOT_MCP_PORT"]


@given(st.sampled_from(sorted(SETTING_NAMES)))
def test_every_documented_name_is_accepted(name: str) -> None:
    check_names({name: "x"})
