"""Tokens of the usual identity providers: which are accepted, with which settings, and why not.

The claims are those of the providers' documentation, with invented values. The issuer on a local
port signs them, and its keys take the place of the provider's.
"""

from collections.abc import Generator
from pathlib import Path
from time import time
from typing import Any, NamedTuple

import pytest

from snapshot_mcp.transports.http.scopes import DELETE, READ, SCOPES, WRITE
from tests.service.in_process import in_process_service
from tests.service.issuer import Issuer, rsa_key

PUBLIC_URL = "https://snapshots.example/mcp"
TENANT = "6f2d1c9e-8a47-4a53-9d0a-3c1c6e0f5b11"
APPLICATION = "b7a5e0f4-52f0-4c5d-8a68-1f0f3b1c9d27"
CLIENT = "0c9e1d5b-7d1f-4e57-bb3e-5a4c0a2f6e90"
ENTRA_V1 = f"https://sts.windows.net/{TENANT}/"
ENTRA_V2 = f"https://login.microsoftonline.com/{TENANT}/v2.0"
OKTA = "https://example.okta.com/oauth2/default"
AUTH0 = "https://example.eu.auth0.com/"
KEYCLOAK = "https://keycloak.example/realms/team"
COGNITO = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE"
GOOGLE = "https://accounts.google.com"
ANOTHER_AUDIENCE = "The token is for another audience."
ANOTHER_ISSUER = "The token is from another issuer."
ID_TOKEN = "The token is an ID token, not an access token."  # noqa: S105 - a message
NO_SCOPE = f"This request needs the scope {READ}."


class Shape(NamedTuple):
    """A token, the settings of the service, and the result.

    Attributes:
        name: what is issued.
        issuer: the setting of the issuer.
        audience: the setting of the audience.
        claims: the claims of the token, beside the times.
        expected: the scopes of the token, or the reason for which it is rejected.
        header: members of its header.
    """

    name: str
    issuer: str
    audience: str
    claims: dict[str, Any]
    expected: list[str] | str
    header: dict[str, Any] = {}  # noqa: RUF012 - never changed


def entra_v2(**claims: object) -> dict[str, Any]:
    return {
        "iss": ENTRA_V2,
        "aud": APPLICATION,
        "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "tid": TENANT,
        "azp": CLIENT,
        "azpacr": "1",
        "ver": "2.0",
    } | claims


def entra_v1(**claims: object) -> dict[str, Any]:
    return {
        "iss": ENTRA_V1,
        "aud": f"api://{APPLICATION}",
        "sub": "NvQG8v2tVrOS7EcUFvqVBHxGcPdGFyFyxKQgPZJyuXk",
        "tid": TENANT,
        "appid": CLIENT,
        "appidacr": "0",
        "unique_name": "alice@team.example",
        "ver": "1.0",
    } | claims


def okta(**claims: object) -> dict[str, Any]:
    return {
        "ver": 1,
        "iss": OKTA,
        "aud": "api://default",
        "sub": "alice@team.example",
        "cid": "0oa1gjh63g214q0Hq0g4",
        "uid": "00ugrenMeqvYla4HW0g3",
        "scp": ["openid", READ],
    } | claims


def auth0(**claims: object) -> dict[str, Any]:
    return {
        "iss": AUTH0,
        "aud": [PUBLIC_URL, f"{AUTH0}userinfo"],
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "azp": "my_client_id",
        "scope": f"openid profile {READ} {WRITE}",
    } | claims


def keycloak(**claims: object) -> dict[str, Any]:
    return {
        "iss": KEYCLOAK,
        "aud": ["snapshots", "account"],
        "sub": "f:2d1c:alice",
        "typ": "Bearer",
        "azp": "assistant",
        "realm_access": {"roles": ["offline_access", DELETE]},
        "resource_access": {"snapshots": {"roles": [DELETE]}},
        "scope": f"profile email {READ}",
    } | claims


def cognito(**claims: object) -> dict[str, Any]:
    return {
        "iss": COGNITO,
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "client_id": "7lhlkkfbfb4q5kpp90urffao",
        "token_use": "access",
        "cognito:groups": ["team"],
        "scope": f"openid {PUBLIC_URL}/{READ} {PUBLIC_URL}/{DELETE}",
        "version": 2,
        "username": "alice",
    } | claims


def without(claims: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if name not in names}


SHAPES = [
    Shape("Entra v2, user", ENTRA_V2, APPLICATION, entra_v2(scp=f"{READ} {WRITE}"), [READ, WRITE]),
    Shape("Entra v2, program", ENTRA_V2, APPLICATION, entra_v2(roles=[READ], idtyp="app"), [READ]),
    Shape(
        "Entra v2, user with a role beyond the scopes of the client",
        *(ENTRA_V2, APPLICATION, entra_v2(scp=READ, roles=[READ, DELETE]), [READ]),
    ),
    Shape(
        "Entra v2, scope of the API and roles",
        *(ENTRA_V2, APPLICATION, entra_v2(scp="access_as_user", roles=[READ, DELETE])),
        [READ, DELETE],
    ),
    Shape(
        "Entra v2, ID token with roles",
        *(ENTRA_V2, APPLICATION, without(entra_v2(roles=[DELETE], nonce="n"), "azp"), ID_TOKEN),
    ),
    Shape(
        "Entra v2, token for another API",
        *(ENTRA_V2, APPLICATION, entra_v2(aud="00000003-0000-0000-c000-000000000000", scp=READ)),
        ANOTHER_AUDIENCE,
    ),
    Shape(
        "Entra v2, another tenant",
        *(ENTRA_V2.replace("6f2d", "7a3e"), APPLICATION, entra_v2(scp=READ), ANOTHER_ISSUER),
    ),
    Shape("Entra v1, user", ENTRA_V1, f"api://{APPLICATION}", entra_v1(scp=READ), [READ]),
    Shape(
        "Entra v1, another client of the tenant, without a scope",
        *(ENTRA_V1, f"api://{APPLICATION}", entra_v1(), NO_SCOPE),
    ),
    Shape(
        "Entra v1 and v2 audiences",
        *(ENTRA_V1, f"{APPLICATION},api://{APPLICATION}", entra_v1(scp=READ), [READ]),
    ),
    Shape(
        "Entra v1 token for the issuer of v2",
        *(ENTRA_V2, f"api://{APPLICATION}", entra_v1(scp=READ), ANOTHER_ISSUER),
    ),
    Shape(
        "Entra v1 issuer without its slash",
        *(ENTRA_V1.rstrip("/"), f"api://{APPLICATION}", entra_v1(scp=READ), ANOTHER_ISSUER),
    ),
    Shape("Okta", OKTA, "api://default", okta(), [READ]),
    Shape("Okta, another server", f"{OKTA}2", "api://default", okta(), ANOTHER_ISSUER),
    Shape("Okta, name in capitals", OKTA, "API://default", okta(), ANOTHER_AUDIENCE),
    Shape(
        "Okta, ID token",
        *(OKTA, "0oa1gjh63g214q0Hq0g4"),
        okta(aud="0oa1gjh63g214q0Hq0g4", at_hash="x", nonce="n"),
        ID_TOKEN,
    ),
    Shape("Auth0", AUTH0, PUBLIC_URL, auth0(), [READ, WRITE]),
    Shape("Auth0, issuer without its slash", AUTH0.rstrip("/"), PUBLIC_URL, auth0(), [READ, WRITE]),
    Shape("Auth0, type at+jwt", AUTH0, PUBLIC_URL, auth0(), [READ, WRITE], {"typ": "at+jwt"}),
    Shape(
        "Auth0, permissions",
        *(AUTH0, PUBLIC_URL, auth0(scope="openid profile", permissions=[DELETE]), [DELETE]),
    ),
    Shape(
        "Auth0, permissions beyond the scopes of the client",
        *(AUTH0, PUBLIC_URL, auth0(permissions=list(SCOPES)), [READ, WRITE]),
    ),
    Shape(
        "Auth0, program",
        *(AUTH0, PUBLIC_URL, auth0(sub="my_client_id@clients", aud=PUBLIC_URL, scope=READ), [READ]),
    ),
    Shape("Keycloak", KEYCLOAK, "snapshots", keycloak(), [READ]),
    Shape(
        "Keycloak, without an audience mapper",
        *(KEYCLOAK, "snapshots", keycloak(aud="account"), ANOTHER_AUDIENCE),
    ),
    Shape(
        "Keycloak, without any audience",
        *(KEYCLOAK, "snapshots", without(keycloak(), "aud"), "The token lacks the claim aud."),
    ),
    Shape(
        "Keycloak, realm roles only",
        *(KEYCLOAK, "snapshots", keycloak(scope="profile email"), NO_SCOPE),
    ),
    Shape(
        "Keycloak, ID token",
        *(KEYCLOAK, "assistant", keycloak(aud="assistant", typ="ID"), ID_TOKEN),
    ),
    Shape(
        "Keycloak, lightweight token without a subject",
        *(KEYCLOAK, "snapshots", without(keycloak(), "sub"), "The token lacks the claim sub."),
    ),
    Shape(
        "Cognito",
        *(COGNITO, f"{PUBLIC_URL}, 7lhlkkfbfb4q5kpp90urffao", cognito(), [READ, DELETE]),
    ),
    Shape("Cognito, another client", COGNITO, PUBLIC_URL, cognito(), ANOTHER_AUDIENCE),
    Shape(
        "Cognito, scopes of another resource server",
        *(COGNITO, "7lhlkkfbfb4q5kpp90urffao", cognito(), NO_SCOPE),
    ),
    Shape(
        "Cognito, ID token",
        *(COGNITO, "7lhlkkfbfb4q5kpp90urffao"),
        cognito(aud="7lhlkkfbfb4q5kpp90urffao", token_use="id"),  # noqa: S106 - a kind
        ID_TOKEN,
    ),
    Shape(
        "a client id instead of an audience, from another provider",
        *(KEYCLOAK, "assistant", without(keycloak(client_id="assistant"), "aud")),
        "The token lacks the claim aud.",
    ),
    Shape(
        "Google, ID token",
        *(GOOGLE, "1234.apps.googleusercontent.com"),
        {
            "iss": GOOGLE,
            "aud": "1234.apps.googleusercontent.com",
            "azp": "1234.apps.googleusercontent.com",
            "sub": "110169484474386276334",
            "email": "alice@team.example",
            "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        },
        ID_TOKEN,
    ),
    Shape(
        "Google, ID token without a hash",
        *(GOOGLE, "1234.apps.googleusercontent.com"),
        {"iss": GOOGLE, "aud": "1234.apps.googleusercontent.com", "sub": "1101694844743862763"},
        NO_SCOPE,
    ),
]


@pytest.fixture(scope="module")
def keys() -> Generator[Issuer]:
    with Issuer("", [rsa_key("rsa-1")]).serve() as issuer:
        yield issuer


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
async def test_a_token_is_accepted_with_its_scopes_or_rejected_with_its_reason(
    keys: Issuer, tmp_path: Path, shape: Shape
) -> None:
    settings = {
        "SNAPSHOT_MCP_PUBLIC_URL": PUBLIC_URL,
        "SNAPSHOT_MCP_AUTH_ISSUER": shape.issuer,
        "SNAPSHOT_MCP_AUTH_AUDIENCE": shape.audience,
        "SNAPSHOT_MCP_AUTH_JWKS_URL": f"{keys.url}/jwks",
    }
    now = int(time())
    token = keys.keys[0].sign({"iat": now, "exp": now + 3_600} | shape.claims, **shape.header)
    async with in_process_service(tmp_path, settings) as service:
        if isinstance(shape.expected, list):
            assert await service.granted_scopes(token) == shape.expected
        else:
            status = 403 if shape.expected == NO_SCOPE else 401
            assert await service.rejection(token, status) == shape.expected
        metadata = (await service.http.get("/.well-known/oauth-protected-resource")).json()
        assert metadata["resource"] == PUBLIC_URL
