"""What the environment says of the service, checked once at its start."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import non_empty_values, read_path, validate_url
from snapshot_mcp.transports.http.static_tokens import (
    UNNAMED_PRINCIPAL,
    StaticToken,
    parse_static_token,
    read_static_tokens,
)

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
"""Addresses that only users of this machine can reach, so they need no authentication."""

DEFAULT_REQUESTS_PER_MINUTE = 600
MAX_REQUESTS_PER_MINUTE = 1_000_000
_ISSUER = "SNAPSHOT_MCP_AUTH_ISSUER"
_AUDIENCE = "SNAPSHOT_MCP_AUTH_AUDIENCE"
_JWKS_URL = "SNAPSHOT_MCP_AUTH_JWKS_URL"
_TOKEN = "SNAPSHOT_MCP_BEARER_TOKEN"  # noqa: S105 - the name of a setting
_TOKENS = "SNAPSHOT_MCP_BEARER_TOKEN_FILE"
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:([0-9]{1,5}|\*))?")
_ORIGIN = re.compile(r"https?://" + _HOST.pattern)


class HttpSettings(BaseModel):
    """The settings of one service.

    Attributes:
        issuer: whose JWTs are taken, exactly as they name it; None for nobody's.
        audience: the address of this service, which the JWTs must be for.
        jwks_url: where the issuer's keys are; None: where its metadata says.
        bearers: those who have a static token.
        allowed_hosts: values of Host that are taken beside loopback and the audience's own.
        allowed_origins: values of Origin that are taken beside those.
        requests_per_minute: of one principal.
    """

    model_config = ConfigDict(frozen=True)

    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    static_tokens: tuple[StaticToken, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    requests_per_minute: int = DEFAULT_REQUESTS_PER_MINUTE

    @property
    def requires_authentication(self) -> bool:
        """Whether every caller is asked who they are."""
        return self.issuer is not None or bool(self.static_tokens)

    @property
    def host_names(self) -> tuple[str, ...]:
        """The hosts that clients call it by, beside those of loopback; none: nobody said."""
        own = urlsplit(self.audience).netloc if self.audience else ""
        return (*self.allowed_hosts, *([own] if own else ()))


def read_http_settings(environment: Mapping[str, str]) -> HttpSettings:
    """Read and check the settings.

    Args:
        environment: as in `read_settings`.

    Raises:
        ConfigError: one sentence that names the setting and what it takes.
    """
    said = {name: value.strip() for name, value in non_empty_values(environment).items()}
    _check_issuer(said)
    return HttpSettings(
        issuer=said.get(_ISSUER) or None,
        audience=said.get(_AUDIENCE) or None,
        jwks_url=said.get(_JWKS_URL) or None,
        static_tokens=_bearers(said),
        allowed_hosts=_listed("SNAPSHOT_MCP_ALLOWED_HOSTS", said, _HOST, "snapshots.example"),
        allowed_origins=_listed(
            "SNAPSHOT_MCP_ALLOWED_ORIGINS", said, _ORIGIN, "https://app.example"
        ),
        requests_per_minute=_requests("SNAPSHOT_MCP_REQUESTS_PER_MINUTE", said),
    )


def check_exposure(host: str, service: HttpSettings) -> None:
    """Check that a service that others can reach has authentication and a host name.

    Args:
        host: the address to listen on.
        service: the settings of the service.

    Raises:
        ConfigurationError: The service has no authentication or no allowed host.
    """
    if host in LOOPBACK_HOSTS:
        return
    if not service.requires_authentication:
        raise ConfigurationError(
            "--host must be a loopback address, because this server does not authenticate its"
            " callers.",
            f"Use one of: {', '.join(LOOPBACK_HOSTS)}. Or turn authentication on with"
            " SNAPSHOT_MCP_AUTH_ISSUER or SNAPSHOT_MCP_BEARER_TOKEN.",
        )
    if not service.host_names:
        raise ConfigurationError(
            "--host makes this server reachable by others, but no host name is allowed.",
            "Set SNAPSHOT_MCP_ALLOWED_HOSTS to the name that clients use, such as"
            " snapshots.example.",
        )


def _check_issuer(said: Mapping[str, str]) -> None:
    for name in (_AUDIENCE, _JWKS_URL):
        if said.get(name) and not said.get(_ISSUER):
            raise ConfigurationError(
                f"{name} is set but {_ISSUER} is not.", "Set both, or neither."
            )
    if said.get(_ISSUER) and not said.get(_AUDIENCE):
        raise ConfigurationError(
            f"{_ISSUER} is set but {_AUDIENCE} is not: a token must be for this very service.",
            "Set it to the address by which clients reach it, such as"
            " https://snapshots.example/mcp.",
        )
    for name in (_ISSUER, _AUDIENCE, _JWKS_URL):
        if address := said.get(name):
            validate_url(
                name,
                address,
                example="https://login.example",
                reason="it decides which tokens are valid",
            )


def _bearers(said: Mapping[str, str]) -> tuple[StaticToken, ...]:
    one, path = said.get(_TOKEN), read_path(_TOKENS, said)
    if one and path:
        raise ConfigurationError(f"{_TOKEN} and {_TOKENS} are both set.", "Unset one of them.")
    if path:
        return read_static_tokens(_TOKENS, path)
    return (parse_static_token(_TOKEN, one, principal=UNNAMED_PRINCIPAL),) if one else ()


def _listed(
    name: str, said: Mapping[str, str], form: re.Pattern[str], example: str
) -> tuple[str, ...]:
    entries = tuple(it.strip() for it in said.get(name, "").split(",") if it.strip())
    if not all(form.fullmatch(it) for it in entries):
        raise ConfigurationError(
            f"{name} must hold values such as {example} or {example}:8765, between commas."
        )
    return entries


def _requests(name: str, said: Mapping[str, str]) -> int:
    text = said.get(name, "")
    if not text:
        return DEFAULT_REQUESTS_PER_MINUTE
    most = MAX_REQUESTS_PER_MINUTE
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 0 < int(text) <= most:
        return int(text)
    raise ConfigurationError(f"{name} must be a whole number, 1 to {most}.")
