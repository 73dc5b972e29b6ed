"""Unauthenticated and unauthorized requests get 401 or 403, and nothing is sent to the cloud."""

import json
from collections.abc import Callable
from time import time

import pytest

from snapshot_mcp.settings.environment import LEDGER_FILE
from snapshot_mcp.transports.http.scopes import DELETE, READ, SCOPE_OF_TOOL, SCOPES, WRITE
from tests.service.conftest import Service
from tests.service.issuer import (
    Issuer,
    ec_key,
    encode_part,
    rsa_key,
    token_signed_with_public_key,
    unsigned_token,
)
from tests.service.raw_requests import ERAS, LEGACY, call_tool, open_session, send_request

ALL = " ".join(SCOPES)
FOREIGN_KEY = rsa_key("rsa-1")
INVALID_TOKENS: dict[str, Callable[[Issuer], str | None]] = {
    "no token": lambda _: None,
    "expired": lambda issuer: issuer.token(ALL, exp=int(time()) - 60),
    "not yet valid": lambda issuer: issuer.token(ALL, nbf=int(time()) + 60),
    "issued in the future": lambda issuer: issuer.token(ALL, iat=int(time()) + 60),
    "another audience": lambda issuer: issuer.token(ALL, aud="https://other.example/mcp"),
    "a prefix of the audience": lambda issuer: issuer.token(
        ALL, aud=issuer.audience.removesuffix("/mcp")
    ),
    "no audience": lambda issuer: issuer.token(ALL, aud=None),
    "another issuer": lambda issuer: issuer.token(ALL, iss="https://other.example"),
    "no issuer": lambda issuer: issuer.token(ALL, iss=None),
    "no expiry": lambda issuer: issuer.token(ALL, exp=None),
    "no subject": lambda issuer: issuer.token(ALL, sub=""),
    "a subject with a line break": lambda issuer: issuer.token(ALL, sub="alice\nlocal"),
    "alg none": lambda issuer: unsigned_token(issuer.claims(ALL)),
    "alg none with a key": lambda issuer: unsigned_token(issuer.claims(ALL), kid="rsa-1"),
    "alg None": lambda issuer: unsigned_token(issuer.claims(ALL), alg="None", kid="rsa-1"),
    "another key with the same id": lambda issuer: FOREIGN_KEY.sign(issuer.claims(ALL)),
    "an unknown key": lambda issuer: ec_key("ec-9").sign(issuer.claims(ALL)),
    "an embedded key": lambda issuer: FOREIGN_KEY.sign(
        issuer.claims(ALL), jwk=FOREIGN_KEY.public_jwk
    ),
    "a key for another algorithm": lambda issuer: FOREIGN_KEY.sign(issuer.claims(ALL), kid="ec-1"),
    "no key id": lambda issuer: issuer.keys[-1].sign(issuer.claims(ALL), kid=""),
    "HS256 with the public key": lambda issuer: token_signed_with_public_key(
        issuer.keys[-1], issuer.claims(ALL)
    ),
    "no signature": lambda issuer: issuer.token(ALL).rsplit(".", 1)[0] + ".",
    "other claims": lambda issuer: _with_claims(issuer.token(READ), issuer.claims(ALL)),
    "malformed": lambda _: "not-a-token",
    "two dots": lambda _: "..",
    "too long": lambda issuer: issuer.token(ALL, more="x" * 50_000),
}
TOKENS_WITHOUT_SCOPES: dict[str, Callable[[Issuer], str]] = {
    "no scope": lambda issuer: issuer.token(""),
    "no scope claim": lambda issuer: issuer.keys[-1].sign(_without_scope(issuer.claims(""))),
    "other scopes": lambda issuer: issuer.token("openid snapshots:readings SNAPSHOTS:READ"),
    "a scope that is a number": lambda issuer: issuer.keys[-1].sign(
        issuer.claims("") | {"scope": 1}
    ),
}
CALLS = {
    "list_snapshots": {},
    "create_snapshot": {"vm_id": 1, "name": "mine", "allow_interruption": True},
    "delete_snapshot": {"snapshot_id": 1},
}


def _with_claims(token: str, claims: dict[str, object]) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{encode_part(claims)}.{signature}"


def _without_scope(claims: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in claims.items() if name != "scope"}


def nothing_was_sent(service: Service) -> bool:
    """Return whether nothing was sent to the cloud and nothing was recorded."""
    return service.upstream.requests == [] and not (service.folder / LEDGER_FILE).exists()


@pytest.fixture(scope="module")
def session(service: Service) -> str:
    """Open a session with a valid token."""
    return open_session(service.http, service.issuer.token(ALL))


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("token", INVALID_TOKENS)
@pytest.mark.sampled(3)
def test_an_invalid_token_gets_401_and_nothing_is_sent(
    service: Service, session: str, token: str, era: str
) -> None:
    invalid_token = INVALID_TOKENS[token](service.issuer)
    for tool, arguments in CALLS.items():
        response = call_tool(service.http, era, invalid_token, tool, arguments, session)
        assert response.status_code == 401, response.text
        challenge = response.headers["www-authenticate"]
        assert challenge.startswith("Bearer ")
        assert ('error="invalid_token"' in challenge) == (invalid_token is not None)
        assert f'scope="{READ}"' in challenge
        metadata = f"{service.server.url}/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{metadata}"' in challenge
        assert invalid_token is None or invalid_token not in response.text + challenge
    assert nothing_was_sent(service)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("token", TOKENS_WITHOUT_SCOPES)
def test_a_token_without_scopes_gets_403(
    service: Service, session: str, token: str, era: str
) -> None:
    unscoped_token = TOKENS_WITHOUT_SCOPES[token](service.issuer)
    for response in (
        call_tool(service.http, era, unscoped_token, "list_snapshots", {}, session),
        send_request(service.http, era, unscoped_token, "tools/list", session=session),
    ):
        assert response.status_code == 403
        assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
        assert f'scope="{READ}"' in response.headers["www-authenticate"]
    assert nothing_was_sent(service)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("tool", SCOPE_OF_TOOL)
@pytest.mark.parametrize("granted", [READ, WRITE, DELETE])
def test_a_tool_beyond_the_scopes_is_answered_403_with_the_scope_that_it_needs(
    service: Service, tool: str, granted: str, era: str
) -> None:
    needed = SCOPE_OF_TOOL[tool]
    if needed == granted:
        return
    # A principal for each tool: together, the requests exceed the limit of one principal.
    token = service.issuer.token(granted, sub=tool)
    response = call_tool(service.http, era, token, tool, CALLS.get(tool, {}))
    assert response.status_code == 403
    challenge = response.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    expected_scopes = " ".join(scope for scope in SCOPES if scope in (needed, granted))
    assert f'scope="{expected_scopes}"' in challenge
    assert f"needs the scope {needed}" in response.json()["error_description"]
    assert nothing_was_sent(service)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/list", {}),
        ("resources/read", {"uri": "snapshot://policy"}),
        ("prompts/list", {}),
        ("prompts/get", {"name": "weekly_snapshot_review"}),
    ],
)
def test_resources_and_prompts_need_the_read_scope(
    service: Service, method: str, params: dict[str, str], era: str
) -> None:
    token = service.issuer.token(f"{WRITE} {DELETE}")
    response = send_request(service.http, era, token, method, dict(params))
    assert response.status_code == 403
    assert f"needs the scope {READ}" in response.json()["error_description"]
    assert send_request(
        service.http, era, service.issuer.token(READ), method, dict(params)
    ).is_success
    assert nothing_was_sent(service)


def test_a_batch_with_one_call_beyond_the_scopes_is_rejected_completely(service: Service) -> None:
    token = service.issuer.token(READ)
    session = open_session(service.http, token)
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "delete_snapshot"}},
    ]
    response = service.server.post_raw(
        json.dumps(batch),
        **{
            "authorization": f"Bearer {token}",
            "mcp-session-id": session,
            "mcp-protocol-version": LEGACY,
        },
    )
    assert response.status_code == 403
    assert nothing_was_sent(service)


@pytest.mark.parametrize("body", ["{", "1", "[" * 60_000, '{"method": []}'], ids=len)
def test_an_invalid_message_gets_400(service: Service, body: str) -> None:
    token = service.issuer.token(READ)
    headers = {
        "authorization": f"Bearer {token}",
        "mcp-session-id": open_session(service.http, token),
    }
    assert service.server.post_raw(body, **headers).status_code == 400
    assert nothing_was_sent(service)


def test_a_session_cannot_be_used_by_another_principal(service: Service, session: str) -> None:
    other_token = service.issuer.token(ALL, sub="mallory")
    response = call_tool(service.http, LEGACY, other_token, "list_snapshots", {}, session)
    assert response.status_code == 404
    assert nothing_was_sent(service)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer, a"},
        {"cookie": "access_token=1"},
    ],
    ids=str,
)
def test_only_a_bearer_token_in_the_header_is_accepted(
    service: Service, headers: dict[str, str]
) -> None:
    response = service.server.post_ping(**headers)
    assert response.status_code == 401
    assert service.server.get("/mcp", **headers).status_code == 401
    assert service.server.get(f"/mcp?access_token={service.issuer.token(ALL)}").status_code == 401


def test_two_tokens_in_one_request_are_rejected(service: Service) -> None:
    token = f"Bearer {service.issuer.token(ALL)}"
    response = service.server.post_raw("{}", authorization=[token, token])
    assert response.status_code == 401


def test_public_paths_reveal_nothing_secret(service: Service) -> None:
    health = service.server.get("/health").json()
    assert health.keys() == {"status", "version", "cloud", "cloud_failing_since"}
    for path in ("", "/mcp"):
        metadata = service.server.get(f"/.well-known/oauth-protected-resource{path}").json()
        assert metadata["resource"] == service.issuer.audience
        assert metadata["authorization_servers"] == [service.issuer.url]
        assert metadata["scopes_supported"] == list(SCOPES)
        assert metadata["bearer_methods_supported"] == ["header"]


@pytest.mark.parametrize(
    "path",
    [
        "/elsewhere",
        "/mcp/elsewhere",
        "/register",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration/mcp",
    ],
)
def test_an_unknown_path_is_answered_404_without_a_token(service: Service, path: str) -> None:
    for method in ("GET", "POST"):
        response = service.http.request(method, path)
        assert response.status_code == 404
        assert "www-authenticate" not in response.headers
    assert service.server.get("/mcp").status_code == 401
