"""Verification of JWTs: keys are fetched when needed, cached, and used during an outage."""

import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime

import anyio
import httpx
import pytest

from snapshot_mcp.transports.http.jwks import (
    KEYS_TTL_SECONDS,
    MAX_RESPONSE_BYTES,
    MIN_FETCH_INTERVAL_SECONDS,
    JwksClient,
    KeySet,
    KeysUnavailableError,
)
from snapshot_mcp.transports.http.scopes import READ, SCOPES, WRITE
from snapshot_mcp.transports.http.token_claims import LEEWAY_SECONDS, RejectedTokenError
from snapshot_mcp.transports.http.token_verifier import (
    CACHE_TTL_SECONDS,
    TokenVerifier,
)
from tests.conftest import ManualClock
from tests.processes.helpers import free_port
from tests.recording_listener import listener, remove_proxies
from tests.service.issuer import (
    Issuer,
    SigningKey,
    ec_key,
    ed_key,
    rsa_key,
    token_signed_with_public_key,
)

AUDIENCE = "https://snapshots.example/mcp"


@pytest.fixture(scope="module")
def running_issuer() -> Generator[Issuer]:
    with Issuer(AUDIENCE, [ec_key("ec-1")]).serve() as issuer:
        yield issuer


@pytest.fixture
def issuer(running_issuer: Issuer) -> Issuer:
    running_issuer.keys, running_issuer.is_down = running_issuer.keys[:1], False
    running_issuer.jwks_body, running_issuer.jwks_uri = None, ""
    running_issuer.requested_paths.clear()
    return running_issuer


@pytest.fixture
def manual_clock() -> ManualClock:
    clock = ManualClock()
    clock.time = datetime.now(UTC)  # the JWT library uses the system clock
    return clock


def make_verifier(
    issuer: Issuer, manual_clock: ManualClock, *, jwks_url: str | None = None
) -> TokenVerifier:
    return TokenVerifier(
        static_tokens=(),
        keys=KeySet(JwksClient(issuer.url, jwks_url).fetch_keys, manual_clock.monotonic),
        issuer=issuer.url,
        audiences=[AUDIENCE],
        clock=manual_clock.clock,
    )


@pytest.fixture
def verifier(issuer: Issuer, manual_clock: ManualClock) -> TokenVerifier:
    return make_verifier(issuer, manual_clock)


@pytest.mark.parametrize("make_key", [rsa_key, ec_key, ed_key])
async def test_a_token_of_each_type_of_key_is_accepted(
    issuer: Issuer, verifier: TokenVerifier, make_key: Callable[[str], SigningKey]
) -> None:
    issuer.keys.append(make_key("second"))
    access = await verifier.verify(issuer.token(f"openid {WRITE} {READ}", sub="alice"))
    assert (access.subject, access.scopes) == ("alice", [READ, WRITE])
    assert access.claims == {"iss": issuer.url}
    assert access.token == ""


@pytest.mark.parametrize("scp", [f"{READ} {WRITE}", [READ, WRITE]])
async def test_scopes_are_also_read_from_scp(
    issuer: Issuer, verifier: TokenVerifier, scp: object
) -> None:
    claims = issuer.claims("", scp=scp)
    del claims["scope"]
    access = await verifier.verify(issuer.keys[-1].sign(claims))
    assert access.scopes == [READ, WRITE]


async def test_keys_are_fetched_once_and_a_token_is_verified_once(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    token = issuer.token(READ)
    first = await verifier.verify(token)
    assert await verifier.verify(token) is first
    await verifier.verify(issuer.token(READ, sub="bob"))
    assert issuer.requested_paths == ["/.well-known/oauth-authorization-server", "/jwks"]


async def test_the_address_of_the_keys_can_be_set(
    issuer: Issuer, manual_clock: ManualClock
) -> None:
    verifier = make_verifier(issuer, manual_clock, jwks_url=f"{issuer.url}/jwks")
    await verifier.verify(issuer.token(READ))
    assert issuer.requested_paths == ["/jwks"]


async def test_a_new_key_is_fetched_when_a_token_names_it(
    issuer: Issuer, verifier: TokenVerifier, manual_clock: ManualClock
) -> None:
    await verifier.verify(issuer.token(READ))
    issuer.keys.append(rsa_key("rsa-2"))
    with pytest.raises(RejectedTokenError):
        await verifier.verify(issuer.token(READ))
    manual_clock.advance(seconds=MIN_FETCH_INTERVAL_SECONDS)
    assert (await verifier.verify(issuer.token(READ))).scopes == [READ]
    assert issuer.requested_paths.count("/jwks") == 2


async def test_tokens_of_unknown_keys_do_not_cause_further_fetches(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    unknown_key = ec_key("never-seen")
    for number in range(20):
        with pytest.raises(RejectedTokenError):
            await verifier.verify(unknown_key.sign(issuer.claims(READ, sub=str(number))))
    assert issuer.requested_paths.count("/jwks") == 1


async def test_concurrent_calls_fetch_the_keys_once(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(verifier.verify, issuer.token(READ, sub=str(number)))
    assert issuer.requested_paths.count("/jwks") == 1


async def test_a_revoked_key_is_rejected_after_the_ttl(
    issuer: Issuer, verifier: TokenVerifier, manual_clock: ManualClock
) -> None:
    token = issuer.token(READ)
    await verifier.verify(token)
    original_keys, issuer.keys = issuer.keys, [rsa_key("rsa-3")]
    manual_clock.advance(seconds=CACHE_TTL_SECONDS - 1)
    await verifier.verify(token)
    manual_clock.advance(seconds=KEYS_TTL_SECONDS)
    with pytest.raises(RejectedTokenError):
        await verifier.verify(token)
    issuer.keys = original_keys


async def test_known_keys_stay_in_use_while_the_issuer_is_down(
    issuer: Issuer, verifier: TokenVerifier, manual_clock: ManualClock
) -> None:
    await verifier.verify(issuer.token(READ))
    issuer.is_down = True
    manual_clock.advance(seconds=KEYS_TTL_SECONDS + 1)
    assert (await verifier.verify(issuer.token(READ, sub="bob"))).subject == "bob"
    with pytest.raises(KeysUnavailableError):
        await verifier.verify(ec_key("ec-2").sign(issuer.claims(READ)))
    issuer.is_down = False
    manual_clock.advance(seconds=MIN_FETCH_INTERVAL_SECONDS)
    assert (await verifier.verify(issuer.token(READ, sub="eve"))).subject == "eve"


async def test_a_token_is_neither_accepted_nor_rejected_while_no_key_was_fetched(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    issuer.is_down = True
    for _ in range(2):
        with pytest.raises(KeysUnavailableError):
            await verifier.verify(issuer.token(READ))
    assert issuer.requested_paths.count("/.well-known/oauth-authorization-server") == 1


async def test_an_unreachable_issuer_is_reported_as_unavailable_keys(
    manual_clock: ManualClock,
) -> None:
    unreachable = Issuer(AUDIENCE, [ec_key("ec-1")], port=free_port())
    with pytest.raises(KeysUnavailableError):
        await make_verifier(unreachable, manual_clock).verify(unreachable.token(READ))


async def test_metadata_of_another_issuer_is_not_used(
    manual_clock: ManualClock, issuer: Issuer
) -> None:
    keys = KeySet(
        JwksClient(f"http://localhost:{issuer.port}", None).fetch_keys, manual_clock.monotonic
    )
    with pytest.raises(KeysUnavailableError):
        await keys.find_keys("ec-1")
    assert "/jwks" not in issuer.requested_paths


async def test_a_cached_token_expires_in_time(
    issuer: Issuer, verifier: TokenVerifier, manual_clock: ManualClock
) -> None:
    token = issuer.token(READ, exp=int(manual_clock.time.timestamp()) + 20)
    await verifier.verify(token)
    manual_clock.advance(seconds=20)
    await verifier.verify(token)
    manual_clock.advance(seconds=LEEWAY_SECONDS)
    with pytest.raises(RejectedTokenError, match="expired"):
        await verifier.verify(token)


async def test_hmac_with_the_public_key_is_rejected(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    token = token_signed_with_public_key(issuer.keys[0], issuer.claims(" ".join(SCOPES)))
    with pytest.raises(RejectedTokenError):
        await verifier.verify(token)
    assert issuer.requested_paths == []


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"keys": 1}', b"<html>", b"[" * 100_000, b" " * (MAX_RESPONSE_BYTES + 1)],
    ids=["nothing", "a list", "no keys", "a number", "a page", "deep", "long"],
)
async def test_an_invalid_response_of_the_issuer_makes_keys_unavailable(
    issuer: Issuer, verifier: TokenVerifier, body: bytes
) -> None:
    issuer.jwks_body = body
    with pytest.raises(KeysUnavailableError):
        await verifier.verify(issuer.token(READ))


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "EC"},
        {"kty": "EC", "crv": "P-256", "x": "!", "y": "!"},
        {"kty": "nonsense"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "alg": 1},
    ],
    ids=str,
)
async def test_a_token_of_an_unusable_key_is_rejected(
    issuer: Issuer, verifier: TokenVerifier, key: dict[str, object]
) -> None:
    issuer.jwks_body = json.dumps({"keys": ["x", {"no": "id"}, key | {"kid": "ec-1"}]}).encode()
    with pytest.raises(RejectedTokenError):
        await verifier.verify(issuer.token(READ))


async def test_keys_are_not_fetched_over_plain_http(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    issuer.jwks_uri = "http://keys.example/jwks"
    with pytest.raises(KeysUnavailableError):
        await verifier.verify(issuer.token(READ))


@pytest.mark.parametrize("issuer_url", ["https://login.example", "HTTPS://Login.Example/"])
async def test_keys_are_fetched_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, issuer_url: str
) -> None:
    remove_proxies(monkeypatch)
    monkeypatch.setenv("NO_PROXY", "fd00::/8,10.0.0.0/8")
    async with listener() as (proxy, received):
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy}")
        with pytest.raises(httpx.TransportError):
            await JwksClient(issuer_url, None).fetch_keys()
    assert received[0].startswith(b"CONNECT login.example:443 ")


async def test_keys_at_addresses_in_a_range_of_no_proxy_are_fetched_directly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remove_proxies(monkeypatch)
    monkeypatch.setenv("NO_PROXY", "fd00::/8,127.0.0.0/8")
    async with listener() as (proxy, via_proxy), listener() as (address, direct):
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy}")
        with pytest.raises(httpx.TransportError):
            await JwksClient("https://login.example", f"https://{address}/jwks").fetch_keys()
    assert via_proxy == []
    assert direct[0][0] == 0x16  # a TLS handshake


async def test_the_third_address_of_metadata_is_tried(
    issuer: Issuer, manual_clock: ManualClock
) -> None:
    with pytest.raises(KeysUnavailableError):
        await KeySet(
            JwksClient(f"{issuer.url}/tenant", None).fetch_keys, manual_clock.monotonic
        ).find_keys("ec-1")
    assert issuer.requested_paths == [
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
    ]
