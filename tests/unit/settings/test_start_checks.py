"""Checks at the start: the data folder, the database's address, the proxy, the certificates."""

import os
from pathlib import Path

import pytest

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import LEDGER_FILE, read_settings
from snapshot_mcp.settings.start_checks import check_data_folder, check_network, check_start
from tests.processes.conftest import Command
from tests.processes.helpers import KEY, environment

COMMANDS: tuple[list[str], ...] = (
    [],
    ["serve", "--transport", "http", "--port", "0"],
    ["call", "list_snapshots"],
)
API = "https://api.example/v1"


@pytest.mark.parametrize("arguments", [*COMMANDS, ["sandbox", "--port", "0"]], ids=" ".join)
def test_an_unusable_data_folder_ends_the_start(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    env = environment(tmp_path / "file" / "data", SNAPSHOT_MCP_CLOUD="embedded")
    if arguments[:1] == ["sandbox"]:
        del env["SNAPSHOT_MCP_CLOUD"]
    ended = command(*arguments, env=env)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "SNAPSHOT_MCP_DATA_DIR" in ended.stderr
    assert "is not a folder" in ended.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_misspelt_setting_ends_the_start(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_API_KEY=KEY, SNAPSHOT_MCP_READONLY="true")
    ended = command(*arguments, env=env)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "the closest is SNAPSHOT_MCP_READ_ONLY." in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["ledger"], ["ledger", "verify"], ["sandbox"]], ids=" ".join)
def test_a_misspelt_setting_ends_commands_that_need_few_settings(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    ended = command(*arguments, env=environment(tmp_path, SNAPSHOT_MCP_DATADIR="/x"))
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "SNAPSHOT_MCP_DATA_DIR" in ended.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_an_unresolved_key_ends_the_start(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_API_KEY="${env:SNAPSHOT_MCP_API_KEY}")
    ended = command(*arguments, env=env)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "Nothing was sent." in ended.stderr


def test_a_usable_folder_is_accepted_and_nothing_is_created(tmp_path: Path) -> None:
    check_data_folder(tmp_path)
    check_data_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [LEDGER_FILE, "cloud.db"])
def test_a_folder_in_place_of_a_database_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigurationError, match=f"{name} in it is not a file"):
        check_data_folder(tmp_path)


def test_a_folder_or_database_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LEDGER_FILE).touch()
    denied: list[Path] = []

    def access(path: Path, _mode: int) -> bool:
        return path not in denied

    monkeypatch.setattr(os, "access", access)
    for path, words in [
        (tmp_path, "this user cannot write it"),
        (tmp_path / LEDGER_FILE, f"this user cannot write {LEDGER_FILE}"),
    ]:
        denied[:] = [path]
        with pytest.raises(ConfigurationError, match=words):
            check_data_folder(tmp_path)
    denied[:] = [tmp_path]
    with pytest.raises(ConfigurationError, match="cannot be created"):
        check_data_folder(tmp_path / "new")


def test_a_folder_that_is_not_used_is_not_checked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = read_settings(
        {
            "SNAPSHOT_MCP_API_KEY": KEY,
            "SNAPSHOT_MCP_DATA_DIR": str(tmp_path / "file" / "data"),
            "SNAPSHOT_MCP_DATABASE_URL": "postgresql://host/db",
            "SNAPSHOT_MCP_SIGNING_KEY": "x" * 44,
        }
    )
    check_start(settings, {}, slow=True)
    with pytest.raises(ConfigurationError):
        check_start(settings.model_copy(update={"signing_key": None}), {}, slow=True)


@pytest.mark.parametrize(
    "options",
    [
        "?sslmod=require",
        "?sslmode=maybe",
        "?connect_timeout=soon",
        "?target_session_attrs=any-write",
        "?sslrootcert=/no/such/file",
        ":port/db",
        ":99999/db",
        ":0/db",
        "%zz/db",
    ],
)
def test_a_database_address_with_an_invalid_option_is_refused_and_not_shown(options: str) -> None:
    with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_DATABASE_URL") as caught:
        read_settings({"SNAPSHOT_MCP_DATABASE_URL": f"postgresql://u:canary@127.0.0.1{options}"})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        "?sslmode=verify-full&sslrootcert=system&connect_timeout=5",
        ":5432,:5433/db?target_session_attrs=read-write&application_name=x",
        "/db?options=-c%20geqo%3Doff",
    ],
)
def test_a_database_address_with_valid_options_is_accepted(options: str) -> None:
    address = f"postgresql://u:p%40ss@127.0.0.1{options}"
    settings = read_settings({"SNAPSHOT_MCP_DATABASE_URL": address})
    assert settings.database_url is not None


@pytest.mark.parametrize("value", ["collector:4318", "grpc://c:4317", "http://", "http://c:port"])
def test_an_invalid_address_of_a_collector_is_refused_and_not_shown(value: str) -> None:
    name = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    with pytest.raises(ConfigurationError, match=name) as caught:
        read_settings({name: value})
    assert value not in str(caught.value).replace("http://collector.example", "")


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value", ["nonsense://u:canary@proxy", "http://u:canary@", "http://u:canary@proxy:port"]
)
def test_an_unusable_proxy_is_refused_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        check_network(API, {name: value})
    assert "canary" not in str(caught.value)


def test_a_proxy_that_the_host_bypasses_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "api.example")
    check_network(API, {"ALL_PROXY": "nonsense://x"})


@pytest.mark.parametrize("value", ["proxy:3128", "http://proxy", "https://u:p@proxy:3128", ""])
def test_a_usable_proxy_is_accepted(value: str) -> None:
    check_network(API, {"HTTPS_PROXY": value})


def test_a_socks_proxy_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    with pytest.raises(ConfigurationError, match=r"httpx\[socks\]"):
        check_network(API, {"ALL_PROXY": "socks5://proxy:1080"})


def test_unusable_certificates_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for value in (tmp_path / "none.pem", tmp_path / "empty.pem", tmp_path):
        with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
            check_network(API, {"SSL_CERT_FILE": str(value)})
    with pytest.raises(ConfigurationError, match="SSL_CERT_DIR"):
        check_network(API, {"SSL_CERT_DIR": str(tmp_path / "none")})
    check_network(API, {"SSL_CERT_DIR": str(tmp_path)})


def test_the_network_is_checked_only_for_the_real_cloud() -> None:
    settings = read_settings({"SNAPSHOT_MCP_API_KEY": KEY})
    proxy = {"ALL_PROXY": "nonsense://x"}
    with pytest.raises(ConfigurationError, match="ALL_PROXY"):
        check_start(settings, proxy, slow=False)
    check_start(read_settings({}), proxy, slow=False)
