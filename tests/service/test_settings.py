"""Settings of the HTTP service are accepted, or rejected with a message that names them."""

from pathlib import Path

import pytest

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import read_settings
from snapshot_mcp.settings.signing_key import KEY_FILE
from snapshot_mcp.transports.http.scopes import DELETE, READ, SCOPES
from snapshot_mcp.transports.http.settings import (
    DEFAULT_REQUESTS_PER_MINUTE,
    HttpSettings,
    read_http_settings,
)
from snapshot_mcp.transports.http.static_tokens import find_static_token
from tests.processes.conftest import Command
from tests.processes.helpers import environment, free_port
from tests.processes.http_server import http_server
from tests.service.issuer import Issuer, rsa_key
from tests.service.raw_requests import ERAS, make_http_client, send_request

TOKEN = "0123456789abcdef" * 2
OTHER = "f" * 40
ISSUER = {
    "SNAPSHOT_MCP_AUTH_ISSUER": "https://login.example/team/",
    "SNAPSHOT_MCP_AUTH_AUDIENCE": "https://snapshots.example/mcp",
}
SINGLE_TOKEN = {"SNAPSHOT_MCP_BEARER_TOKEN": TOKEN}


def settings_error(settings: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_http_settings(settings)
    assert TOKEN not in str(caught.value)
    return str(caught.value)


def token_file(folder: Path, *lines: str) -> dict[str, str]:
    """Write a file of tokens and return the setting that names it."""
    path = folder / "tokens"
    path.write_text("\n".join(lines), encoding="utf-8")
    return {"SNAPSHOT_MCP_BEARER_TOKEN_FILE": str(path)}


def test_without_settings_no_authentication_is_required() -> None:
    assert read_http_settings({}) == HttpSettings()
    assert read_http_settings(dict.fromkeys((*ISSUER, *SINGLE_TOKEN), "")) == HttpSettings()
    assert not read_http_settings({}).requires_authentication


def test_an_issuer_is_kept_exactly_and_the_audience_gives_the_host_name() -> None:
    service = read_http_settings(ISSUER)
    assert service.requires_authentication
    assert service.issuer == ISSUER["SNAPSHOT_MCP_AUTH_ISSUER"]
    assert service.audiences == (ISSUER["SNAPSHOT_MCP_AUTH_AUDIENCE"],)
    assert service.public_url == ISSUER["SNAPSHOT_MCP_AUTH_AUDIENCE"]
    assert service.host_names == ("snapshots.example",)
    assert service.requests_per_minute == DEFAULT_REQUESTS_PER_MINUTE


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"SNAPSHOT_MCP_AUTH_ISSUER": "https://login.example"}, "SNAPSHOT_MCP_AUTH_AUDIENCE"),
        ({"SNAPSHOT_MCP_AUTH_AUDIENCE": "https://a.example"}, "SNAPSHOT_MCP_AUTH_ISSUER"),
        ({"SNAPSHOT_MCP_AUTH_JWKS_URL": "https://a.example/k"}, "SNAPSHOT_MCP_AUTH_ISSUER"),
        (ISSUER | {"SNAPSHOT_MCP_AUTH_ISSUER": "http://login.example"}, "SNAPSHOT_MCP_AUTH_ISSUER"),
        (ISSUER | {"SNAPSHOT_MCP_AUTH_ISSUER": "login"}, "SNAPSHOT_MCP_AUTH_ISSUER"),
        (ISSUER | {"SNAPSHOT_MCP_AUTH_AUDIENCE": "a b"}, "SNAPSHOT_MCP_AUTH_AUDIENCE"),
        (ISSUER | {"SNAPSHOT_MCP_AUTH_AUDIENCE": " , "}, "SNAPSHOT_MCP_AUTH_AUDIENCE"),
        (ISSUER | {"SNAPSHOT_MCP_PUBLIC_URL": "http://a.example/mcp"}, "SNAPSHOT_MCP_PUBLIC_URL"),
        ({"SNAPSHOT_MCP_PUBLIC_URL": "api://snapshots"}, "SNAPSHOT_MCP_PUBLIC_URL"),
        (ISSUER | {"SNAPSHOT_MCP_AUTH_JWKS_URL": "http://a.example"}, "SNAPSHOT_MCP_AUTH_JWKS_URL"),
        ({"SNAPSHOT_MCP_BEARER_TOKEN": TOKEN[1:]}, "SNAPSHOT_MCP_BEARER_TOKEN"),
        ({"SNAPSHOT_MCP_BEARER_TOKEN": f"{TOKEN} {TOKEN}"}, "SNAPSHOT_MCP_BEARER_TOKEN"),
        (SINGLE_TOKEN | {"SNAPSHOT_MCP_BEARER_TOKEN_FILE": "/tokens"}, "both set"),
        ({"SNAPSHOT_MCP_BEARER_TOKEN_FILE": "tokens"}, "SNAPSHOT_MCP_BEARER_TOKEN_FILE"),
        ({"SNAPSHOT_MCP_BEARER_TOKEN_FILE": "/no/such"}, "SNAPSHOT_MCP_BEARER_TOKEN_FILE"),
        ({"SNAPSHOT_MCP_ALLOWED_HOSTS": "https://a.example"}, "SNAPSHOT_MCP_ALLOWED_HOSTS"),
        ({"SNAPSHOT_MCP_ALLOWED_HOSTS": "a.example, *"}, "SNAPSHOT_MCP_ALLOWED_HOSTS"),
        ({"SNAPSHOT_MCP_ALLOWED_ORIGINS": "a.example"}, "SNAPSHOT_MCP_ALLOWED_ORIGINS"),
        ({"SNAPSHOT_MCP_ALLOWED_ORIGINS": "null"}, "SNAPSHOT_MCP_ALLOWED_ORIGINS"),
        ({"SNAPSHOT_MCP_REQUESTS_PER_MINUTE": "0"}, "SNAPSHOT_MCP_REQUESTS_PER_MINUTE"),
        ({"SNAPSHOT_MCP_REQUESTS_PER_MINUTE": "1e3"}, "SNAPSHOT_MCP_REQUESTS_PER_MINUTE"),
        ({"SNAPSHOT_MCP_REQUESTS_PER_MINUTE": "1000001"}, "SNAPSHOT_MCP_REQUESTS_PER_MINUTE"),
    ],
    ids=str,
)
def test_an_invalid_or_incomplete_setting_is_named(settings: dict[str, str], named: str) -> None:
    assert named in settings_error(settings)


def test_lists_are_separated_by_commas() -> None:
    service = read_http_settings(
        {
            "SNAPSHOT_MCP_ALLOWED_HOSTS": "a.example, b.example:8443,[::1]:*",
            "SNAPSHOT_MCP_ALLOWED_ORIGINS": " https://app.example ,",
            "SNAPSHOT_MCP_REQUESTS_PER_MINUTE": "30",
        }
    )
    assert service.allowed_hosts == ("a.example", "b.example:8443", "[::1]:*")
    assert service.allowed_origins == ("https://app.example",)
    assert service.requests_per_minute == 30


def test_a_single_token_has_all_scopes_and_is_not_stored() -> None:
    service = read_http_settings(SINGLE_TOKEN)
    static_token = find_static_token(TOKEN, service.static_tokens)
    assert static_token is not None
    assert (static_token.principal, static_token.scopes) == ("bearer", frozenset(SCOPES))
    assert find_static_token(OTHER, service.static_tokens) is None
    assert TOKEN not in repr(service)


def test_a_token_file_assigns_principals_and_scopes(tmp_path: Path) -> None:
    lines = ("# ours", "", f"alice {TOKEN}", f"  ci\t{OTHER} {READ} {DELETE}", "x" * 32)
    static_tokens = read_http_settings(token_file(tmp_path, *lines)).static_tokens
    alice, ci, unnamed = (
        find_static_token(token, static_tokens) for token in (TOKEN, OTHER, "x" * 32)
    )
    assert alice is not None
    assert (alice.principal, alice.scopes) == ("bearer:alice", frozenset(SCOPES))
    assert ci is not None
    assert (ci.principal, ci.scopes) == ("bearer:ci", {READ, DELETE})
    assert unnamed is not None
    assert unnamed.principal == "bearer"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_token_file_written_on_windows_is_accepted(
    tmp_path: Path, encoding: str, line_end: str
) -> None:
    settings = token_file(tmp_path)
    text = line_end.join((f"alice {TOKEN}", "# ours", f"ci {OTHER} {READ}", ""))
    (tmp_path / "tokens").write_bytes(text.encode(encoding))
    tokens = read_http_settings(settings).static_tokens
    assert [token.principal for token in tokens] == ["bearer:alice", "bearer:ci"]
    assert find_static_token(TOKEN, tokens) is not None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"alice ${ALICE_TOKEN_0123456789abcdef0123}", "line 1, contains a reference"),
        (b"a\nalice <paste the token of alice here>", "line 1"),
        (b"# \xff", "line 1 is not UTF-8"),
        (b"#" * 70_000, "larger than 64 KiB"),
    ],
)
def test_an_unusable_token_file_is_rejected_with_its_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    settings = token_file(tmp_path)
    (tmp_path / "tokens").write_bytes(content)
    assert reason in settings_error(settings)
    assert "not a file" in settings_error({"SNAPSHOT_MCP_BEARER_TOKEN_FILE": str(tmp_path)})


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("# no token",),
        (f"alice {TOKEN} everything",),
        (f"al/ice {TOKEN}",),
        ("alice short",),
        (f"alice {TOKEN}", f"alice {OTHER}"),
        (f"alice {TOKEN}", f"bob {TOKEN}"),
    ],
    ids=str,
)
def test_a_token_file_with_an_invalid_line_is_rejected(
    tmp_path: Path, lines: tuple[str, ...]
) -> None:
    assert "SNAPSHOT_MCP_BEARER_TOKEN_FILE" in settings_error(token_file(tmp_path, *lines))


KEY = "dGhpcyBpcyBub3QgYSBzZWNyZXQsIGp1c3QgYSB0ZXN0Pz8-_w"


@pytest.mark.parametrize("written", [KEY, f"{KEY}==", f" {KEY}\n"])
def test_a_signing_key_in_the_environment_precedes_the_one_in_the_data_folder(
    tmp_path: Path, written: str
) -> None:
    settings = read_settings(
        {"SNAPSHOT_MCP_SIGNING_KEY": written, "SNAPSHOT_MCP_DATA_DIR": str(tmp_path)}
    )
    assert settings.find_signing_key().load() == b"this is not a secret, just a test??>\xff"
    assert KEY not in repr(settings)
    assert list(tmp_path.iterdir()) == []


def test_the_signing_key_is_in_the_data_folder_by_default(tmp_path: Path) -> None:
    key = read_settings({"SNAPSHOT_MCP_DATA_DIR": str(tmp_path)}).find_signing_key().load
    assert list(tmp_path.iterdir()) == []
    assert key() == key()
    assert [file.name for file in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("written", ["short", "x" * 42, f"{KEY}!", "\u00e9" * 50])
def test_an_invalid_signing_key_is_rejected_and_not_shown(written: str) -> None:
    with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_SIGNING_KEY") as caught:
        read_settings({"SNAPSHOT_MCP_SIGNING_KEY": written})
    assert written not in str(caught.value)


def test_a_service_with_a_shared_key_and_its_own_ledger_does_not_start(
    command: Command, tmp_path: Path
) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_API_KEY="k", SNAPSHOT_MCP_SIGNING_KEY=KEY)
    result = command("serve", "--transport", "http", "--port", "0", env=env)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "Set SNAPSHOT_MCP_DATABASE_URL too, or unset SNAPSHOT_MCP_SIGNING_KEY" in result.stderr
    assert KEY not in result.stderr


@pytest.mark.parametrize(
    ("settings", "arguments", "named"),
    [
        ({"SNAPSHOT_MCP_BEARER_TOKEN": "short"}, [], "SNAPSHOT_MCP_BEARER_TOKEN"),
        ({"SNAPSHOT_MCP_SIGNING_KEY": "short"}, [], "SNAPSHOT_MCP_SIGNING_KEY"),
        ({}, ["--host", "0.0.0.0"], "--host"),  # noqa: S104 - must be rejected
        ({"SNAPSHOT_MCP_ALLOWED_HOSTS": "a.example"}, ["--host", "::"], "--host"),
        (SINGLE_TOKEN, ["--host", "0.0.0.0"], "SNAPSHOT_MCP_ALLOWED_HOSTS"),  # noqa: S104 - likewise
    ],
    ids=str,
)
def test_an_exposed_service_without_authentication_does_not_start(
    command: Command, tmp_path: Path, settings: dict[str, str], arguments: list[str], named: str
) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_API_KEY="k", **settings)
    result = command("serve", "--transport", "http", "--port", "0", *arguments, env=env)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert named in result.stderr
    assert TOKEN not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("audience", ["b7a5e0f4-52f0-4c5d-8a68-1f0f3b1c9d27", "x,api://default"])
def test_a_service_starts_with_any_audience_and_spelling(tmp_path: Path, audience: str) -> None:
    issuer = Issuer(audience.rsplit(",", maxsplit=1)[-1], [rsa_key("rsa-1")])
    settings = {
        "SNAPSHOT_MCP_AUTH_ISSUER": f"HTTP://127.0.0.1:{issuer.port}/",
        "SNAPSHOT_MCP_AUTH_AUDIENCE": audience,
        "SNAPSHOT_MCP_PUBLIC_URL": "https://Snapshots.example/",
    }
    with issuer.serve(), http_server(tmp_path, free_port(), **settings) as server:
        metadata = server.get("/.well-known/oauth-protected-resource").json()
        assert metadata["resource"] == "https://snapshots.example"
        with make_http_client(server.url) as http:
            for era in ERAS:
                response = send_request(http, era, issuer.token(READ), "tools/list")
                assert response.status_code == 200, response.text
