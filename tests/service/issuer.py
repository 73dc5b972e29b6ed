"""An authorization server on a port of 127.0.0.1: it issues JWTs, and changes its keys."""

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
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.processes.helpers import free_port, serve_in_thread

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Claims = dict[str, Any]


@dataclass
class SigningKey:
    """A key pair, by the id that its tokens name."""

    kid: str
    algorithm: str
    private_key: PrivateKey

    @property
    def public_jwk(self) -> dict[str, Any]:
        """What the issuer publishes of it."""
        made = jwt.get_algorithm_by_name(self.algorithm)
        jwk: dict[str, Any] = json.loads(made.to_jwk(self.private_key.public_key()))
        return jwk | {"kid": self.kid, "alg": self.algorithm, "use": "sig"}

    @property
    def public_pem(self) -> bytes:
        return self.private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, claims: Claims, **header: Any) -> str:  # noqa: ANN401 - as JSON has it
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
        audience: what it issues tokens for.
        keys: all that it publishes; it signs with the last one.
        asked: the paths that it was asked for.
        down: it answers 503.
        instead: what it answers in place of its keys.
        jwks_uri: where its metadata says that they are.
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
        """What makes a service take its tokens."""
        return {
            "SNAPSHOT_MCP_AUTH_ISSUER": self.url,
            "SNAPSHOT_MCP_AUTH_AUDIENCE": self.audience,
        }

    def claims(self, scope: str, sub: str = "alice", **others: object) -> Claims:
        """The claims of a good token, or with others in their place; None leaves one out."""
        now = int(time())
        claims: Claims = {"iss": self.url, "aud": self.audience, "sub": sub, "scope": scope}
        claims |= {"iat": now, "exp": now + 600, "client_id": "tests"} | others
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, scope: str, sub: str = "alice", **others: object) -> str:
        return self.keys[-1].sign(self.claims(scope, sub, **others))

    def metadata(self, request: Request) -> Response:
        self.requested_paths.append(request.url.path)
        told = {
            "issuer": self.url,
            "jwks_uri": self.jwks_uri or f"{self.url}/jwks",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "response_types_supported": ["code"],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
        return JSONResponse(told, 503 if self.is_down else 200)

    def jwks(self, request: Request) -> Response:
        self.requested_paths.append(request.url.path)
        if self.jwks_body is not None:
            return Response(self.jwks_body, media_type="application/json")
        told = {"keys": [key.public_jwk for key in self.keys]}
        return JSONResponse(told, 503 if self.is_down else 200)

    async def issue(self, request: Request) -> Response:
        """The grant of client credentials: the client's id becomes the subject."""
        form = await request.form()
        scope, client = str(form.get("scope", "")), str(form["client_id"])
        told = {"token_type": "Bearer", "expires_in": 600, "scope": scope}
        return JSONResponse(told | {"access_token": self.token(scope, client, client_id=client)})

    @contextmanager
    def serve(self) -> Generator["Issuer"]:
        """Serve in a thread of this process."""
        routes = [
            Route("/.well-known/oauth-authorization-server", self.metadata),
            Route("/jwks", self.jwks),
            Route("/token", self.issue, methods=["POST"]),
        ]
        with serve_in_thread(Starlette(routes=routes), self.port):
            yield self


def encode_part(value: object) -> str:
    """One part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned_token(claims: Claims, **header: str) -> str:
    """A JWT that says that it needs no signature."""
    return f"{encode_part({'alg': 'none', 'typ': 'JWT'} | header)}.{encode_part(claims)}."


def token_signed_with_public_key(key: SigningKey, claims: Claims) -> str:
    """A JWT by HMAC, whose secret is the public key that everybody has."""
    head = f"{encode_part({'alg': 'HS256', 'typ': 'JWT', 'kid': key.kid})}.{encode_part(claims)}"
    signature = hmac.digest(key.public_pem, head.encode(), hashlib.sha256)
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
