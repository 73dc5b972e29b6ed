"""Unusual tokens, keys and addresses: each is accepted, or rejected with its true reason."""

import base64
import json
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from snapshot_mcp.transports.http.identifiers import canonical_identifier
from snapshot_mcp.transports.http.jwks import KEYS_TTL_SECONDS, MIN_FETCH_INTERVAL_SECONDS
from snapshot_mcp.transports.http.scopes import DELETE, READ, SCOPES
from snapshot_mcp.transports.http.token_verifier import MAX_TOKEN_LENGTH
from tests.service.in_process import InProcessService, in_process_service
from tests.service.issuer import (
    Claims,
    Issuer,
    SigningKey,
    ec_key,
    encode_part,
    rsa_key,
    token_signed_with_public_key,
)

AUDIENCE = "https://snapshots.example/mcp"
RSA_KEY, EC_KEY = rsa_key("rsa-1"), ec_key("ec-1")
UNFIT_KEY = "The issuer's key for this token does not fit the token's algorithm."
NOT_VISIBLE = (
    "The token's subject is longer than 255 characters, or has characters that are not visible."
)
WRONG_ALGORITHM = "The token is not signed with an algorithm that this server accepts."
UNKNOWN_KEY = "The issuer's current keys do not include the key of the token."
WRONG_SIGNATURE = "The token's signature does not match the issuer's key."
MALFORMED = "The token is not a well-formed JWT."
NOT_VALID = "The token is not valid."


@pytest.fixture(scope="module")
def running_issuer() -> Generator[Issuer]:
    with Issuer(AUDIENCE, [RSA_KEY]).serve() as issuer:
        yield issuer


@pytest.fixture
def issuer(running_issuer: Issuer) -> Issuer:
    running_issuer.keys, running_issuer.jwks_body = [RSA_KEY], None
    running_issuer.is_down, running_issuer.jwks_uri = False, ""
    running_issuer.requested_paths.clear()
    return running_issuer


@pytest.fixture
async def service(issuer: Issuer, tmp_path: Path) -> AsyncGenerator[InProcessService]:
    async with in_process_service(tmp_path, issuer.settings) as service:
        yield service


def signature_of(signed: str) -> str:
    """Return the signature of text that the library does not encode itself."""
    algorithm = jwt.get_algorithm_by_name("RS256")
    signature = algorithm.sign(signed.encode(), RSA_KEY.private_key)
    return base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def publish(issuer: Issuer, *jwks: dict[str, Any]) -> None:
    """Make the issuer publish these keys."""
    issuer.jwks_body = json.dumps({"keys": jwks}).encode()


VISIBLE_SUBJECTS = [
    "alice",
    "Alice Liddell",
    " alice ",
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "alice@team.example",
    "Ålice Lüdenscheidt",
    "A\u030alice",  # the same letter, decomposed
    "愛麗絲",
    'a"l\\i#c/e?<b>',
    "a" * 255,
]


async def test_any_visible_subject_is_accepted_and_recorded_as_it_is(
    issuer: Issuer, service: InProcessService, tmp_path: Path
) -> None:
    for subject in VISIBLE_SUBJECTS:
        token = issuer.token(" ".join(SCOPES), sub=subject)
        await service.call_tool(token, "delete_snapshot", snapshot_id=1720)
    ledger = open_sqlite_ledger(tmp_path / LEDGER_FILE, service.clock.now)
    principals = [row.principal for row in await ledger.rows() if row.event == "planned"]
    assert principals == [f"{issuer.url}#{subject}" for subject in VISIBLE_SUBJECTS]


REJECTED_SUBJECTS = [
    ("alice\nlocal", NOT_VISIBLE),
    ("ali\u200bce", NOT_VISIBLE),
    ("ali\u3164ce", NOT_VISIBLE),
    ("ali\ufe0fce", NOT_VISIBLE),
    ("ali\u202ece", NOT_VISIBLE),
    ("ali\ud800ce", NOT_VISIBLE),
    ("alice\0", NOT_VISIBLE),
    ("a" * 256, NOT_VISIBLE),
    ("", "The token's subject is empty or not a text."),
    (17, "The token's subject is empty or not a text."),
    (["alice"], "The token's subject is empty or not a text."),
    (None, "The token lacks the claim sub."),
]


async def test_a_subject_that_could_pass_for_another_is_rejected(
    issuer: Issuer, service: InProcessService
) -> None:
    for subject, reason in REJECTED_SUBJECTS:
        claims = issuer.claims(READ) | {"sub": subject}
        assert await service.rejection(RSA_KEY.sign(claims)) == reason, ascii(subject)


async def test_tokens_have_a_maximum_length(issuer: Issuer, service: InProcessService) -> None:
    longest = issuer.longest_token(READ, MAX_TOKEN_LENGTH)
    too_long = issuer.longest_token(READ, MAX_TOKEN_LENGTH + 8)
    assert MAX_TOKEN_LENGTH - 8 < len(longest) <= MAX_TOKEN_LENGTH < len(too_long)
    assert await service.granted_scopes(longest) == [READ]
    reason = f"The token is longer than {MAX_TOKEN_LENGTH} characters."
    assert await service.rejection(too_long) == reason


WRONG_CLAIMS: list[tuple[Claims, str | None]] = [
    ({"exp": None}, "The token lacks the claim exp."),
    ({"exp": 1}, "The token has expired."),
    ({"exp": "tomorrow"}, MALFORMED),
    ({"exp": 10**400}, None),
    ({"exp": 10**12}, "The token expires after the year 9999."),
    ({"exp": float("inf")}, None),
    ({"exp": float("nan")}, None),
    ({"nbf": 2**33}, "The token is not valid yet."),
    ({"nbf": []}, None),  # the message depends on the version of the library
    ({"iat": 2**33}, "The token is not valid yet."),
    ({"iat": {}}, None),
    ({"iss": None}, "The token lacks the claim iss."),
    ({"iss": ["https://a.example"]}, "The token is from another issuer."),
    ({"aud": None}, "The token lacks the claim aud."),
    ({"aud": []}, "The token lacks the claim aud."),
    ({"aud": ""}, "The token lacks the claim aud."),
    ({"aud": {"a": AUDIENCE}}, "The token is for another audience."),
    ({"aud": [1, AUDIENCE + "/"]}, "The token is for another audience."),
    ({"events": {}}, "The token is not an access token."),
    (
        {"cnf": {"jkt": "x"}},
        "The token is bound to a key of its client, not a bearer token.",
    ),
]


async def test_a_claim_that_is_wrong_is_named(issuer: Issuer, service: InProcessService) -> None:
    header = encode_part({"alg": "RS256", "kid": "rsa-1"})
    for claims, reason in WRONG_CLAIMS:
        signed = f"{header}.{encode_part(issuer.claims(READ) | claims)}"
        actual = await service.rejection(f"{signed}.{signature_of(signed)}")
        assert actual == reason or (reason is None and actual.startswith("The token ")), claims


WRONG_HEADERS: list[tuple[Claims, str | None]] = [
    ({"typ": "logout+jwt"}, "The token has another type than an access token."),
    ({"typ": "dpop+jwt"}, "The token has another type than an access token."),
    ({"typ": ["JWT"]}, "The token has another type than an access token."),
    ({"crit": ["exp"]}, None),  # the library rejects some itself
    ({"crit": []}, None),
    ({"kid": "rsa-2"}, UNKNOWN_KEY),
    ({"alg": "none"}, WRONG_ALGORITHM),
    ({"alg": "HS256"}, WRONG_ALGORITHM),
    ({"alg": "rs256"}, WRONG_ALGORITHM),
    ({"alg": ["RS256"]}, WRONG_ALGORITHM),
    ({"alg": "RS512"}, UNFIT_KEY),  # the key is for RS256
    ({"alg": "ES256"}, UNFIT_KEY),
    ({"kid": 1}, NOT_VALID),
    ({"b64": False}, None),
]


async def test_a_header_that_is_wrong_is_described(
    issuer: Issuer, service: InProcessService
) -> None:
    _, claims, signature = issuer.token(READ).split(".")
    for header, reason in WRONG_HEADERS:
        token = f"{encode_part({'alg': 'RS256', 'kid': 'rsa-1'} | header)}.{claims}.{signature}"
        actual = await service.rejection(token)
        assert actual == reason or (reason is None and actual.startswith("The token")), header


async def test_usual_headers_are_accepted(issuer: Issuer, service: InProcessService) -> None:
    for header in ({"typ": "at+jwt"}, {"typ": "application/AT+JWT"}, {"typ": "jwt"}, {"x5t": "x"}):
        assert await service.granted_scopes(RSA_KEY.sign(issuer.claims(READ), **header)) == [READ]


NO_SIGNED_JWTS = [
    "opaque",
    "a.b",
    "...",
    "e30.e30.e30",
    "ya29.a0AfH6SMBx",
    f"{encode_part({'alg': 'RS256'})}.{encode_part([])}.",
    f"{encode_part({'alg': 'RS256'})}.{'A' * 30_001}.x",
    base64.urlsafe_b64encode(b"[" * 40_000).decode() + ".e30.x",
    f"{encode_part({'alg': 'RS256'})}.{base64.urlsafe_b64encode(b'[' * 40_000).decode()}.x",
    # Encrypted tokens have five parts.
    f"{encode_part({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.a.b.c.d",
]


async def test_what_is_not_a_signed_jwt_is_rejected(
    service: InProcessService,
) -> None:
    for token in NO_SIGNED_JWTS:
        assert (await service.rejection(token)).startswith("The token is not "), token[:50]


UNFIT_MEMBERS: list[Claims] = [
    {"alg": None},
    {"alg": "RS512"},
    {"use": "enc"},
    {"use": ["sig"]},
    {"key_ops": ["encrypt"]},
    {"key_ops": []},
    {"key_ops": "verify"},
    {"key_ops": {"verify": 1}},
    {"kty": "oct", "k": "c2VjcmV0"},
    {"kty": "EC"},
    {"kty": ["RSA"]},
    {"n": None},
    {"n": "AQAB"},
    {"e": "!"},
    {"n": 1, "e": {}},
]


async def test_a_key_that_is_not_for_this_use_verifies_nothing(
    issuer: Issuer, service: InProcessService
) -> None:
    for members in UNFIT_MEMBERS:
        publish(issuer, RSA_KEY.public_jwk | members)
        service.clock.advance(seconds=KEYS_TTL_SECONDS)
        assert await service.rejection(issuer.token(READ, exp=2**40)) == UNFIT_KEY, members


async def test_a_key_may_say_that_it_verifies_and_may_omit_everything_optional(
    issuer: Issuer, service: InProcessService
) -> None:
    jwk = RSA_KEY.public_jwk
    publish(
        issuer, {name: jwk[name] for name in ("kid", "kty", "n", "e")} | {"key_ops": ["verify"]}
    )
    for algorithm in ("RS256", "RS512", "PS384"):
        token = jwt.encode(
            issuer.claims(READ), RSA_KEY.private_key, algorithm, headers={"kid": "rsa-1"}
        )
        assert await service.granted_scopes(token) == [READ]


@pytest.mark.parametrize("secret", ["public PEM", "published oct key"])
async def test_hmac_with_anything_that_the_issuer_publishes_is_rejected(
    issuer: Issuer, service: InProcessService, secret: str
) -> None:
    claims = issuer.claims(" ".join(SCOPES))
    token = token_signed_with_public_key(RSA_KEY, claims)
    if secret != "public PEM":  # noqa: S105 - the name of a case
        key = b"0123456789abcdef0123456789abcdef"
        encoded = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
        publish(issuer, {"kty": "oct", "k": encoded, "kid": "rsa-1", "alg": "HS256"})
        token = jwt.encode(claims, key, "HS256", headers={"kid": "rsa-1"})
    assert await service.rejection(token) == WRONG_ALGORITHM


@pytest.mark.parametrize(
    "key",
    [
        SigningKey("k", "RS256", rsa.generate_private_key(65_537, 1_024)),  # noqa: S505 - must be rejected
        SigningKey("k", "ES256", ec.generate_private_key(ec.SECP256K1())),
        SigningKey("k", "EdDSA", ed448.Ed448PrivateKey.generate()),
    ],
    ids=["short", "another curve", "Ed448"],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_short_keys_and_unusual_curves_are_rejected(
    issuer: Issuer, service: InProcessService, key: SigningKey
) -> None:
    issuer.keys = [key]
    # The library does not sign ES256 with another curve, so the signature is of another key.
    signer = EC_KEY if key.algorithm == "ES256" else key
    assert await service.rejection(signer.sign(issuer.claims(READ), kid="k")) == UNFIT_KEY


@pytest.mark.parametrize("with_kid", [True, False])
async def test_tokens_and_keys_without_an_id_are_accepted(
    issuer: Issuer, service: InProcessService, *, with_kid: bool
) -> None:
    jwks = [key.public_jwk for key in (EC_KEY, rsa_key("other"), RSA_KEY)]
    if with_kid:  # only the token has one
        for jwk in jwks:
            del jwk["kid"]
    publish(issuer, *jwks)
    header = {"kid": "rsa-1"} if with_kid else {}
    token = jwt.encode(issuer.claims(READ), RSA_KEY.private_key, "RS256", headers=header)
    assert await service.granted_scopes(token) == [READ]
    stranger = rsa_key("stranger")
    forged = jwt.encode(issuer.claims(READ), stranger.private_key, "RS256", headers=header)
    assert await service.rejection(forged) == WRONG_SIGNATURE


async def test_every_key_with_the_id_of_the_token_is_tried(
    issuer: Issuer, service: InProcessService
) -> None:
    others = [{**key.public_jwk, "kid": "rsa-1"} for key in (EC_KEY, rsa_key("old"))]
    publish(issuer, *others, {"kid": "rsa-1", "kty": "RSA", "n": 1}, RSA_KEY.public_jwk)
    assert await service.granted_scopes(issuer.token(READ)) == [READ]


async def test_a_key_that_was_replaced_under_its_id_is_fetched_again(
    issuer: Issuer, service: InProcessService
) -> None:
    assert await service.granted_scopes(issuer.token(READ)) == [READ]
    issuer.keys = [rsa_key("rsa-1")]
    assert await service.rejection(issuer.token(READ)) == WRONG_SIGNATURE
    service.clock.advance(seconds=MIN_FETCH_INTERVAL_SECONDS)
    assert await service.granted_scopes(issuer.token(READ)) == [READ]


async def test_forged_tokens_do_not_cause_more_fetches_than_one_in_ten_seconds(
    issuer: Issuer, service: InProcessService
) -> None:
    stranger = rsa_key("rsa-1")
    for number in range(10):
        forged = stranger.sign(issuer.claims(READ, sub=str(number)))
        assert await service.rejection(forged) == WRONG_SIGNATURE
    assert issuer.requested_paths.count("/jwks") == 1


async def test_without_keys_the_answer_is_503_and_says_when_to_try_again(
    issuer: Issuer, service: InProcessService
) -> None:
    issuer.is_down = True
    for token in (issuer.token(READ), issuer.token(READ), EC_KEY.sign(issuer.claims(READ))):
        response = await service.post_modern(token, "tools/list")
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert "www-authenticate" not in response.headers
    issuer.is_down = False
    service.clock.advance(seconds=MIN_FETCH_INTERVAL_SECONDS)
    assert await service.granted_scopes(issuer.token(READ)) == [READ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "nonsense://proxy.example"),
        ("HTTPS_PROXY", "http://[::1"),
        ("SSL_CERT_FILE", "/no/such/file"),
    ],
)
async def test_unusable_settings_of_the_environment_are_503_too(
    tmp_path: Path, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    settings = {
        "SNAPSHOT_MCP_AUTH_ISSUER": "HTTPS://login.example",
        "SNAPSHOT_MCP_AUTH_AUDIENCE": AUDIENCE,
    }
    async with in_process_service(tmp_path, settings) as service:
        token = RSA_KEY.sign(issuer.claims(READ, iss="https://login.example/"))
        assert "cannot be verified now" in await service.rejection(token, 503)


SPELLINGS = ["https://login.example", "https://login.example/", "HTTPS://Login.Example:443/"]


@pytest.mark.parametrize("configured", SPELLINGS)
@pytest.mark.parametrize("named", SPELLINGS)
async def test_spellings_of_one_address_are_one_issuer_audience_and_resource(
    issuer: Issuer, tmp_path: Path, configured: str, named: str
) -> None:
    settings = {
        "SNAPSHOT_MCP_AUTH_ISSUER": configured,
        "SNAPSHOT_MCP_AUTH_AUDIENCE": f"api://x,{configured}",
        "SNAPSHOT_MCP_AUTH_JWKS_URL": f"HTTP://127.0.0.1:{issuer.port}/jwks",
    }
    async with in_process_service(tmp_path, settings) as service:
        token = issuer.token(READ, iss=named, aud=[named])
        assert await service.granted_scopes(token) == [READ]
        path = "/.well-known/oauth-protected-resource"
        metadata = (await service.http.get(path, headers={"host": "login.example"})).json()
        assert metadata["resource"] == "https://login.example"
        headers = {"host": "login.example"}
        assert (await service.send("POST", token, b"1", headers)).status_code == 400


async def test_without_a_public_address_no_metadata_is_served(
    issuer: Issuer, tmp_path: Path
) -> None:
    settings = issuer.settings | {"SNAPSHOT_MCP_AUTH_AUDIENCE": "api://default"}
    async with in_process_service(tmp_path, settings) as service:
        assert await service.granted_scopes(issuer.token(READ, aud="api://default")) == [READ]
        response = await service.post_modern("opaque", "tools/list")
        assert "resource_metadata" not in response.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/mcp", "https://a.example/mcp/"),
        ("https://a.example/mcp", "https://a.example/MCP"),
        ("https://a.example", "http://a.example"),
        ("https://a.example", "https://a.example:8443"),
        ("https://a.example", "https://a.example?x"),
        ("https://a.example", "https://a.example//"),
        ("https://a.example", "https://a.example\n"),
        ("https://a.example", "https://user@a.example"),
        ("https://kelvin.example", "https://\u212aelvin.example"),
        ("api://a", "api://a/"),
        ("api://a", "API://a"),
        ("urn:a", "urn:A"),
        ("snapshots", "Snapshots"),
    ],
)
def test_other_differences_of_identifiers_count(one: str, other: str) -> None:
    assert canonical_identifier(one) != canonical_identifier(other)


@given(st.text() | st.from_regex(r"(?i)https?://[a-z.]{1,9}(:[0-9]{1,4})?(/[a-z/]{0,5})?"))
def test_a_canonical_identifier_is_its_own(text: str) -> None:
    once = canonical_identifier(text)
    assert canonical_identifier(once) == once


@pytest.mark.parametrize("claim", ["scope", "scp", "permissions", "roles"])
@pytest.mark.parametrize("value", [f"other {DELETE} {READ}", [DELETE, 1, None, READ]], ids=str)
async def test_scopes_are_read_from_a_text_or_a_list(
    issuer: Issuer, service: InProcessService, claim: str, value: object
) -> None:
    token = RSA_KEY.sign(issuer.claims("openid") | {claim: value})
    assert await service.granted_scopes(token) == [READ, DELETE]


NO_SCOPES: list[object] = [
    f"https://other.example/mcp/{READ}",
    f"{AUDIENCE}{READ}",
    f"{AUDIENCE}/{READ}/x",
    {READ: True},
    READ.upper(),
    17,
]


async def test_other_values_are_not_scopes(issuer: Issuer, service: InProcessService) -> None:
    for value in NO_SCOPES:
        token = RSA_KEY.sign(issuer.claims("") | {"scope": value})
        assert f"needs the scope {READ}" in await service.rejection(token, 403), value


async def test_tokens_of_another_issuer_do_not_cause_a_fetch(
    issuer: Issuer, service: InProcessService
) -> None:
    token = issuer.token(READ, iss="https://other.example")
    assert await service.rejection(token) == "The token is from another issuer."
    assert issuer.requested_paths == []
