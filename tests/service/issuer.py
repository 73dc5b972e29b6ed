"""An authorization server on a local port, which issues JWTs and can change its keys."""

import base64
import hashlib
import hmac
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.processes.helpers import free_port, serve_in_thread

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed448.Ed448PrivateKey
    | ed25519.Ed25519PrivateKey
)
Claims = dict[str, Any]


@dataclass
class SigningKey:
    """A key pair and the id that its tokens name."""

    kid: str
    algorithm: str
    private_key: PrivateKey

    @property
    def public_jwk(self) -> dict[str, Any]:
        """The JWK that the issuer publishes."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        jwk: dict[str, Any] = json.loads(algorithm.to_jwk(self.private_key.public_key()))
        return jwk | {"kid": self.kid, "alg": self.algorithm, "use": "sig"}

    @property
    def public_pem(self) -> bytes:
        return self.private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, claims: Claims, **header: Any) -> str:  # noqa: ANN401 - any JSON value
        return jwt.encode(claims, self.private_key, self.algorithm, {"kid": self.kid} | header)


def rsa_key(kid: str) -> SigningKey:
    return SigningKey(kid, "RS256", rsa.generate_private_key(65_537, 2_048))


def ec_key(kid: str) -> SigningKey:
    return SigningKey(kid, "ES256", ec.generate_private_key(ec.SECP256R1()))


def ed_key(kid: str) -> SigningKey:
    return SigningKey(kid, "EdDSA", ed25519.Ed25519PrivateKey.generate())


@dataclass
class Issuer:
    """The authorization server.

    Attributes:
        audience: the audience of its tokens.
        keys: the published keys; it signs with the last one.
        requested_paths: the paths of the requests that it received.
        is_down: whether it responds with 503.
        jwks_body: the response in place of its keys, if any.
        jwks_uri: the address of its keys in its metadata; empty for the real one.
    """

    audience: str
    keys: list[SigningKey]
    port: int = field(default_factory=free_port)
    requested_paths: list[str] = field(default_factory=list[str])
    is_down: bool = False
    jwks_body: bytes | None = None
    jwks_uri: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a service that accepts its tokens."""
        return {
            "SNAPSHOT_MCP_AUTH_ISSUER": self.url,
            "SNAPSHOT_MCP_AUTH_AUDIENCE": self.audience,
        }

    def claims(self, scope: str, sub: str = "alice", **overrides: object) -> Claims:
        """Return the claims of a valid token, with `overrides`; None removes a claim."""
        now = int(time())
        claims: Claims = {"iss": self.url, "aud": self.audience, "sub": sub, "scope": scope}
        claims |= {"iat": now, "exp": now + 600, "client_id": "tests"} | overrides
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, scope: str, sub: str = "alice", **overrides: object) -> str:
        return self.keys[-1].sign(self.claims(scope, sub, **overrides))

    def longest_token(self, scope: str, max_length: int) -> str:
        """Return a token of `max_length` characters, or a few less."""
        padding = (max_length - len(self.token(scope, groups=""))) * 3 // 4
        return self.token(scope, groups="x" * padding)

    def metadata(self, request: Request) -> Response:
        self.requested_paths.append(request.url.path)
        metadata = {
            "issuer": self.url,
            "jwks_uri": self.jwks_uri or f"{self.url}/jwks",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "response_types_supported": ["code"],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
        return JSONResponse(metadata, 503 if self.is_down else 200)

    def missing(self, request: Request) -> Response:
        self.requested_paths.append(request.url.path)
        return Response(status_code=404)

    def jwks(self, request: Request) -> Response:
        self.requested_paths.append(request.url.path)
        if self.jwks_body is not None:
            return Response(self.jwks_body, media_type="application/json")
        jwks = {"keys": [key.public_jwk for key in self.keys]}
        return JSONResponse(jwks, 503 if self.is_down else 200)

    async def issue(self, request: Request) -> Response:
        """Issue a token for client credentials, with the client's id as subject."""
        form = await request.form()
        scope, client = str(form.get("scope", "")), str(form["client_id"])
        response = {"token_type": "Bearer", "expires_in": 600, "scope": scope}
        return JSONResponse(
            response | {"access_token": self.token(scope, client, client_id=client)}
        )

    @contextmanager
    def serve(self) -> Generator["Issuer"]:
        """Serve in a thread of this process."""
        routes = [
            Route("/.well-known/oauth-authorization-server", self.metadata),
            Route("/{path:path}.well-known/{name}{tenant:path}", self.missing),
            Route("/jwks", self.jwks),
            Route("/token", self.issue, methods=["POST"]),
        ]
        with serve_in_thread(Starlette(routes=routes), self.port):
            yield self


def encode_part(value: object) -> str:
    """Return one encoded part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned_token(claims: Claims, **header: str) -> str:
    """Return a JWT with `alg: none`."""
    return f"{encode_part({'alg': 'none', 'typ': 'JWT'} | header)}.{encode_part(claims)}."


def token_signed_with_public_key(key: SigningKey, claims: Claims) -> str:
    """Return a JWT signed by HMAC with the public key as its secret."""
    head = f"{encode_part({'alg': 'HS256', 'typ': 'JWT', 'kid': key.kid})}.{encode_part(claims)}"
    signature = hmac.digest(key.public_pem, head.encode(), hashlib.sha256)
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
