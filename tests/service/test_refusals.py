"""Whoever is not known, or may not do it, gets nowhere: 401 or 403, and nothing leaves."""

import json
from collections.abc import Callable
from time import time

import pytest

from snapshot_mcp.settings.environment import LEDGER_FILE
from snapshot_mcp.transports.http.scopes import DELETE, READ, SCOPE_OF_TOOL, SCOPES, WRITE
from tests.service.conftest import Service
from tests.service.conversation import ERAS, LEGACY, call_tool, open_session, send_request
from tests.service.issuer import (
    Issuer,
    ec_key,
    encode_part,
    rsa_key,
    token_signed_with_public_key,
    unsigned_token,
)

ALL = " ".join(SCOPES)
STRANGER = rsa_key("rsa-1")
BAD: dict[str, Callable[[Issuer], str | None]] = {
    "no token": lambda _: None,
    "expired": lambda it: it.token(ALL, exp=int(time()) - 60),
    "not yet valid": lambda it: it.token(ALL, nbf=int(time()) + 60),
    "issued in the future": lambda it: it.token(ALL, iat=int(time()) + 60),
    "another audience": lambda it: it.token(ALL, aud="https://other.example/mcp"),
    "a part of the audience": lambda it: it.token(ALL, aud=it.audience.removesuffix("/mcp")),
    "no audience": lambda it: it.token(ALL, aud=None),
    "another issuer": lambda it: it.token(ALL, iss="https://other.example"),
    "no issuer": lambda it: it.token(ALL, iss=None),
    "no end": lambda it: it.token(ALL, exp=None),
    "no subject": lambda it: it.token(ALL, sub=""),
    "a subject with a line end": lambda it: it.token(ALL, sub="alice\nlocal"),
    "alg none": lambda it: unsigned_token(it.claims(ALL)),
    "alg none with a key": lambda it: unsigned_token(it.claims(ALL), kid="rsa-1"),
    "alg None": lambda it: unsigned_token(it.claims(ALL), alg="None", kid="rsa-1"),
    "another key of the same name": lambda it: STRANGER.sign(it.claims(ALL)),
    "a key that is not known": lambda it: ec_key("ec-9").sign(it.claims(ALL)),
    "a key of its own": lambda it: STRANGER.sign(it.claims(ALL), jwk=STRANGER.public_jwk),
    "a key for another algorithm": lambda it: STRANGER.sign(it.claims(ALL), kid="ec-1"),
    "no name of a key": lambda it: it.keys[-1].sign(it.claims(ALL), kid=""),
    "HS256 with the public key": lambda it: token_signed_with_public_key(
        it.keys[-1], it.claims(ALL)
    ),
    "signature cut off": lambda it: it.token(ALL).rsplit(".", 1)[0] + ".",
    "claims exchanged": lambda it: _with_claims(it.token(READ), it.claims(ALL)),
    "malformed": lambda _: "not-a-token",
    "two dots": lambda _: "..",
    "too long": lambda it: it.token(ALL, more="x" * 9_000),
}
POWERLESS: dict[str, Callable[[Issuer], str]] = {
    "no scope": lambda it: it.token(""),
    "no claim of scopes": lambda it: it.keys[-1].sign(_without_scope(it.claims(""))),
    "other scopes": lambda it: it.token("openid snapshots:readings SNAPSHOTS:READ"),
    "a scope that is a number": lambda it: it.keys[-1].sign(it.claims("") | {"scope": 1}),
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


def nothing_left(service: Service) -> bool:
    """Whether nothing was sent and nothing recorded."""
    return service.upstream.requests == [] and not (service.folder / LEDGER_FILE).exists()


@pytest.fixture(scope="module")
def session(service: Service) -> str:
    """A session that somebody opened with a good token; a bad one must not use it."""
    return open_session(service.http, service.issuer.token(ALL))


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("token", BAD)
def test_a_token_that_is_not_good_is_answered_401_and_nothing_is_sent(
    service: Service, session: str, token: str, era: str
) -> None:
    bad = BAD[token](service.issuer)
    for tool, arguments in CALLS.items():
        answer = call_tool(service.http, era, bad, tool, arguments, session)
        assert answer.status_code == 401, answer.text
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith("Bearer ")
        assert ('error="invalid_token"' in challenge) == (bad is not None)
        assert f'scope="{READ}"' in challenge
        metadata = f"{service.server.url}/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{metadata}"' in challenge
        assert bad is None or bad not in answer.text + challenge
    assert nothing_left(service)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("token", POWERLESS)
def test_a_token_without_any_scope_of_ours_is_answered_403(
    service: Service, session: str, token: str, era: str
) -> None:
    powerless = POWERLESS[token](service.issuer)
    for answer in (
        call_tool(service.http, era, powerless, "list_snapshots", {}, session),
        send_request(service.http, era, powerless, "tools/list", session=session),
    ):
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert f'scope="{READ}"' in answer.headers["www-authenticate"]
    assert nothing_left(service)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("tool", SCOPE_OF_TOOL)
@pytest.mark.parametrize("held", [READ, WRITE, DELETE])
def test_a_tool_beyond_the_scopes_is_answered_403_with_the_scope_that_it_needs(
    service: Service, tool: str, held: str, era: str
) -> None:
    needed = SCOPE_OF_TOOL[tool]
    if needed == held:
        return
    answer = call_tool(service.http, era, service.issuer.token(held), tool, CALLS.get(tool, {}))
    assert answer.status_code == 403
    challenge = answer.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    wanted = " ".join(it for it in SCOPES if it in (needed, held))
    assert f'scope="{wanted}"' in challenge
    assert f"needs the scope {needed}" in answer.json()["error_description"]
    assert nothing_left(service)


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
def test_what_is_read_otherwise_needs_the_scope_to_read(
    service: Service, method: str, params: dict[str, str], era: str
) -> None:
    token = service.issuer.token(f"{WRITE} {DELETE}")
    answer = send_request(service.http, era, token, method, dict(params))
    assert answer.status_code == 403
    assert f"needs the scope {READ}" in answer.json()["error_description"]
    assert send_request(
        service.http, era, service.issuer.token(READ), method, dict(params)
    ).is_success
    assert nothing_left(service)


def test_a_batch_with_one_call_beyond_the_scopes_is_refused_whole(service: Service) -> None:
    token = service.issuer.token(READ)
    session = open_session(service.http, token)
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "delete_snapshot"}},
    ]
    answer = service.server.post_raw(
        json.dumps(batch),
        **{
            "authorization": f"Bearer {token}",
            "mcp-session-id": session,
            "mcp-protocol-version": LEGACY,
        },
    )
    assert answer.status_code == 403
    assert nothing_left(service)


@pytest.mark.parametrize("body", ["{", "1", "[" * 100_000, '{"method": []}'], ids=len)
def test_what_is_no_message_is_answered_as_such(service: Service, body: str) -> None:
    token = service.issuer.token(READ)
    headers = {
        "authorization": f"Bearer {token}",
        "mcp-session-id": open_session(service.http, token),
    }
    assert service.server.post_raw(body, **headers).status_code == 400
    assert nothing_left(service)


def test_a_session_is_of_no_use_to_another_principal(service: Service, session: str) -> None:
    other = service.issuer.token(ALL, sub="mallory")
    answer = call_tool(service.http, LEGACY, other, "list_snapshots", {}, session)
    assert answer.status_code == 404
    assert nothing_left(service)


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
def test_only_a_bearer_token_in_the_header_counts(
    service: Service, headers: dict[str, str]
) -> None:
    answer = service.server.post_ping(**headers)
    assert answer.status_code == 401
    assert service.server.get("/mcp", **headers).status_code == 401
    assert service.server.get(f"/mcp?access_token={service.issuer.token(ALL)}").status_code == 401


def test_two_tokens_at_once_are_none(service: Service) -> None:
    token = f"Bearer {service.issuer.token(ALL)}"
    answer = service.server.post_raw("{}", authorization=[token, token])
    assert answer.status_code == 401


def test_what_is_open_to_all_says_nothing_secret(service: Service) -> None:
    health = service.server.get("/health").json()
    assert health.keys() == {"status", "version", "cloud", "cloud_failing_since"}
    for path in ("", "/mcp"):
        metadata = service.server.get(f"/.well-known/oauth-protected-resource{path}").json()
        assert metadata["resource"] == service.issuer.audience
        assert metadata["authorization_servers"] == [service.issuer.url]
        assert metadata["scopes_supported"] == list(SCOPES)
        assert metadata["bearer_methods_supported"] == ["header"]
    assert service.server.get("/elsewhere").status_code == 401
