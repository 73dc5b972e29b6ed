"""The issuer's keys: fetched when they are needed, not oftener, and used while it is away."""

import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime

import anyio
import pytest

from snapshot_mcp.transports.http.jwks import (
    KEYS_TTL_SECONDS,
    MAX_RESPONSE_BYTES,
    MIN_FETCH_INTERVAL_SECONDS,
    KeySet,
    KeysUnavailableError,
)
from snapshot_mcp.transports.http.jwks import JwksClient as Source
from snapshot_mcp.transports.http.scopes import READ, SCOPES, WRITE
from snapshot_mcp.transports.http.token_verifier import (
    CACHE_TTL_SECONDS,
    LEEWAY_SECONDS,
    RejectedTokenError,
    TokenVerifier,
)
from tests.conftest import ManualClock
from tests.processes.helpers import free_port
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
def running() -> Generator[Issuer]:
    with Issuer(AUDIENCE, [ec_key("ec-1")]).serve() as issuer:
        yield issuer


@pytest.fixture
def issuer(running: Issuer) -> Issuer:
    running.keys, running.is_down = running.keys[:1], False
    running.jwks_body, running.jwks_uri = None, ""
    running.requested_paths.clear()
    return running


@pytest.fixture
def turned() -> ManualClock:
    clock = ManualClock()
    clock.time = datetime.now(UTC)  # the library that reads JWTs has a clock of its own
    return clock


def verifier_of(
    issuer: Issuer, turned: ManualClock, *, jwks_url: str | None = None
) -> TokenVerifier:
    return TokenVerifier(
        static_tokens=(),
        keys=KeySet(Source(issuer.url, jwks_url).fetch_keys, turned.elapsed),
        issuer=issuer.url,
        audience=AUDIENCE,
        clock=turned.clock,
    )


@pytest.fixture
def verifier(issuer: Issuer, turned: ManualClock) -> TokenVerifier:
    return verifier_of(issuer, turned)


@pytest.mark.parametrize("make", [rsa_key, ec_key, ed_key])
async def test_a_token_of_each_kind_of_key_is_taken(
    issuer: Issuer, verifier: TokenVerifier, make: Callable[[str], SigningKey]
) -> None:
    issuer.keys.append(make("second"))
    access = await verifier.verify(issuer.token(f"openid {WRITE} {READ}", sub="alice"))
    assert (access.subject, access.scopes) == ("alice", [READ, WRITE])
    assert access.claims == {"iss": issuer.url}
    assert access.token == ""


@pytest.mark.parametrize("scp", [f"{READ} {WRITE}", [READ, WRITE]])
async def test_scopes_are_read_as_other_issuers_write_them(
    issuer: Issuer, verifier: TokenVerifier, scp: object
) -> None:
    claims = issuer.claims("", scp=scp)
    del claims["scope"]
    access = await verifier.verify(issuer.keys[-1].sign(claims))
    assert access.scopes == [READ, WRITE]


async def test_the_keys_are_asked_for_once_and_a_token_is_looked_at_once(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    token = issuer.token(READ)
    first = await verifier.verify(token)
    assert await verifier.verify(token) is first
    await verifier.verify(issuer.token(READ, sub="bob"))
    assert issuer.requested_paths == ["/.well-known/oauth-authorization-server", "/jwks"]


async def test_where_the_keys_are_can_be_said(issuer: Issuer, turned: ManualClock) -> None:
    verifier = verifier_of(issuer, turned, jwks_url=f"{issuer.url}/jwks")
    await verifier.verify(issuer.token(READ))
    assert issuer.requested_paths == ["/jwks"]


async def test_a_new_key_is_fetched_when_a_token_names_it(
    issuer: Issuer, verifier: TokenVerifier, turned: ManualClock
) -> None:
    await verifier.verify(issuer.token(READ))
    issuer.keys.append(rsa_key("rsa-2"))
    with pytest.raises(RejectedTokenError):
        await verifier.verify(issuer.token(READ))
    turned.turn(seconds=MIN_FETCH_INTERVAL_SECONDS)
    assert (await verifier.verify(issuer.token(READ))).scopes == [READ]
    assert issuer.requested_paths.count("/jwks") == 2


async def test_tokens_of_unknown_keys_do_not_make_it_ask_the_issuer_again_and_again(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    stranger = ec_key("never-seen")
    for number in range(20):
        with pytest.raises(RejectedTokenError):
            await verifier.verify(stranger.sign(issuer.claims(READ, sub=str(number))))
    assert issuer.requested_paths.count("/jwks") == 1


async def test_calls_at_once_ask_the_issuer_once(issuer: Issuer, verifier: TokenVerifier) -> None:
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(verifier.verify, issuer.token(READ, sub=str(number)))
    assert issuer.requested_paths.count("/jwks") == 1


async def test_a_key_that_the_issuer_took_back_is_refused_in_time(
    issuer: Issuer, verifier: TokenVerifier, turned: ManualClock
) -> None:
    token = issuer.token(READ)
    await verifier.verify(token)
    kept, issuer.keys = issuer.keys, [rsa_key("rsa-3")]
    turned.turn(seconds=CACHE_TTL_SECONDS - 1)
    await verifier.verify(token)
    turned.turn(seconds=KEYS_TTL_SECONDS)
    with pytest.raises(RejectedTokenError):
        await verifier.verify(token)
    issuer.keys = kept


async def test_known_keys_stay_in_use_while_the_issuer_is_away(
    issuer: Issuer, verifier: TokenVerifier, turned: ManualClock
) -> None:
    await verifier.verify(issuer.token(READ))
    issuer.is_down = True
    turned.turn(seconds=KEYS_TTL_SECONDS + 1)
    assert (await verifier.verify(issuer.token(READ, sub="bob"))).subject == "bob"
    with pytest.raises(KeysUnavailableError):
        await verifier.verify(ec_key("ec-2").sign(issuer.claims(READ)))
    issuer.is_down = False
    turned.turn(seconds=MIN_FETCH_INTERVAL_SECONDS)
    assert (await verifier.verify(issuer.token(READ, sub="eve"))).subject == "eve"


async def test_a_token_is_neither_good_nor_bad_while_no_key_could_be_had(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    issuer.is_down = True
    for _ in range(2):
        with pytest.raises(KeysUnavailableError):
            await verifier.verify(issuer.token(READ))
    assert issuer.requested_paths.count("/.well-known/oauth-authorization-server") == 1


async def test_an_issuer_that_is_not_there_is_no_crash(turned: ManualClock) -> None:
    nowhere = Issuer(AUDIENCE, [ec_key("ec-1")], port=free_port())
    with pytest.raises(KeysUnavailableError):
        await verifier_of(nowhere, turned).verify(nowhere.token(READ))


async def test_metadata_of_another_issuer_is_not_used(turned: ManualClock, issuer: Issuer) -> None:
    keys = KeySet(Source(f"http://localhost:{issuer.port}", None).fetch_keys, turned.elapsed)
    with pytest.raises(KeysUnavailableError):
        await keys.find_key("ec-1")
    assert "/jwks" not in issuer.requested_paths


async def test_a_good_token_ends_when_it_ends_however_well_it_is_known(
    issuer: Issuer, verifier: TokenVerifier, turned: ManualClock
) -> None:
    token = issuer.token(READ, exp=int(turned.time.timestamp()) + 20)
    await verifier.verify(token)
    turned.turn(seconds=20)
    await verifier.verify(token)
    turned.turn(seconds=LEEWAY_SECONDS)
    with pytest.raises(RejectedTokenError, match="expired"):
        await verifier.verify(token)


async def test_a_published_secret_does_not_make_hmac_good(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    token = token_signed_with_public_key(issuer.keys[0], issuer.claims(" ".join(SCOPES)))
    with pytest.raises(RejectedTokenError):
        await verifier.verify(token)
    assert issuer.requested_paths == []


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"keys": 1}', b"<html>", b"[" * 100_000, b" " * (MAX_RESPONSE_BYTES + 1)],
    ids=["nothing", "a list", "no keys", "a number", "a page", "deep", "long"],
)
async def test_an_issuer_that_answers_nonsense_has_not_answered(
    issuer: Issuer, verifier: TokenVerifier, answer: bytes
) -> None:
    issuer.jwks_body = answer
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
async def test_a_key_that_cannot_be_used_makes_no_token_good_and_nothing_crash(
    issuer: Issuer, verifier: TokenVerifier, key: dict[str, object]
) -> None:
    issuer.jwks_body = json.dumps({"keys": ["x", {"no": "id"}, key | {"kid": "ec-1"}]}).encode()
    with pytest.raises(RejectedTokenError):
        await verifier.verify(issuer.token(READ))


async def test_keys_are_not_fetched_where_others_could_change_them_on_the_way(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    issuer.jwks_uri = "http://keys.example/jwks"
    with pytest.raises(KeysUnavailableError):
        await verifier.verify(issuer.token(READ))
