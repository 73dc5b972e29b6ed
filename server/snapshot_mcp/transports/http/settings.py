"""Settings of the HTTP service, read from the environment and validated at start."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import Settings, read_path
from snapshot_mcp.settings.names import read_values
from snapshot_mcp.settings.validation import validate_url
from snapshot_mcp.transports.http.identifiers import canonical_identifier
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
_PUBLIC_URL = "SNAPSHOT_MCP_PUBLIC_URL"
_PUBLIC_URL_EXAMPLE = "https://snapshots.example/mcp"
_AUDIENCE_ENTRY = re.compile(r"[\x21-\x7e]{1,255}")
_TOKEN = "SNAPSHOT_MCP_BEARER_TOKEN"  # noqa: S105 - the name of a setting
_TOKEN_FILE = "SNAPSHOT_MCP_BEARER_TOKEN_FILE"  # noqa: S105 - likewise
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:([0-9]{1,5}|\*))?")
_ORIGIN = re.compile(r"https?://" + _HOST.pattern)


class HttpSettings(BaseModel):
    """The settings of one HTTP service.

    Attributes:
        issuer: the issuer whose JWTs are accepted; None accepts no JWT.
        audiences: the audiences of which the JWTs must have one.
        public_url: the address that clients use, in canonical spelling; None if it is not known.
        jwks_url: the address of the issuer's keys; None: the address in its metadata.
        static_tokens: the static bearer tokens.
        allowed_hosts: accepted values of Host, besides loopback and the host of `public_url`.
        allowed_origins: accepted values of Origin, besides those of the same hosts. CORS headers
            let their pages read the answers.
        requests_per_minute: the quota of each principal.
    """

    model_config = ConfigDict(frozen=True)

    issuer: str | None = None
    audiences: tuple[str, ...] = ()
    public_url: str | None = None
    jwks_url: str | None = None
    static_tokens: tuple[StaticToken, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    requests_per_minute: int = DEFAULT_REQUESTS_PER_MINUTE

    @property
    def requires_authentication(self) -> bool:
        """Whether every caller must authenticate."""
        return self.issuer is not None or bool(self.static_tokens)

    @property
    def host_names(self) -> tuple[str, ...]:
        """The host names under which clients on other machines reach this service."""
        public_hosts = [urlsplit(self.public_url).netloc] if self.public_url else []
        return (*self.allowed_hosts, *public_hosts)


def read_http_settings(environment: Mapping[str, str]) -> HttpSettings:
    """Read and validate the settings.

    Args:
        environment: as in `read_settings`.

    Raises:
        ConfigurationError: A setting is not valid. The message names it and its valid values.
    """
    values = read_values(environment)
    audiences = tuple(_split(values.get(_AUDIENCE, "")))
    _check_issuer(values, audiences)
    public_url = _read_public_url(values, audiences)
    return HttpSettings(
        issuer=values.get(_ISSUER) or None,
        audiences=audiences or ((public_url,) if public_url else ()),
        public_url=public_url,
        jwks_url=values.get(_JWKS_URL) or None,
        static_tokens=_read_static_tokens(values),
        allowed_hosts=_read_list("SNAPSHOT_MCP_ALLOWED_HOSTS", values, _HOST, "snapshots.example"),
        allowed_origins=_read_list(
            "SNAPSHOT_MCP_ALLOWED_ORIGINS", values, _ORIGIN, "https://app.example"
        ),
        requests_per_minute=_read_quota("SNAPSHOT_MCP_REQUESTS_PER_MINUTE", values),
    )


def check_exposure(host: str, http_settings: HttpSettings) -> None:
    """Check that a service that others can reach has authentication and a host name.

    Args:
        host: the address to listen on.
        http_settings: the settings of the service.

    Raises:
        ConfigurationError: The service has no authentication or no host name.
    """
    if host in LOOPBACK_HOSTS:
        return
    if not http_settings.requires_authentication:
        raise ConfigurationError(
            "--host must be a loopback address, because this server does not authenticate its"
            " callers.",
            f"Use one of: {', '.join(LOOPBACK_HOSTS)}. Or turn authentication on with"
            " SNAPSHOT_MCP_AUTH_ISSUER or SNAPSHOT_MCP_BEARER_TOKEN.",
        )
    if not http_settings.host_names:
        raise ConfigurationError(
            "--host makes this server reachable by others, but no host name is allowed.",
            f"Set {_PUBLIC_URL} to the address that clients use, or SNAPSHOT_MCP_ALLOWED_HOSTS to"
            " its host, such as snapshots.example.",
        )


def check_embedded_cloud(settings: Settings) -> None:
    """Check that a service uses the embedded cloud only on request.

    Its users would take the answers of the embedded cloud for those of their account.

    Raises:
        ConfigurationError: There is no API key, and the embedded cloud was not requested.
    """
    if settings.embedded and not settings.embedded_requested:
        reason = settings.embedded_reason
        raise ConfigurationError(
            f"{reason[0].upper()}{reason[1:]}, and a service uses the embedded cloud only on"
            " request.",
            "Set SNAPSHOT_MCP_API_KEY, or set SNAPSHOT_MCP_CLOUD=embedded to serve the embedded"
            " cloud, which changes nothing in a real account.",
        )


def check_shared_key(settings: Settings) -> None:
    """Check that a service with a shared signing key also shares its ledger.

    Raises:
        ConfigurationError: It shares the key only.
    """
    is_shared = settings.signing_key is not None and settings.signing_key_file is None
    if is_shared and settings.database_url is None:
        raise ConfigurationError(
            "SNAPSHOT_MCP_SIGNING_KEY is set but SNAPSHOT_MCP_DATABASE_URL is not. Servers that"
            " share a key must share a ledger, because a plan is recorded in one ledger only.",
            "Set SNAPSHOT_MCP_DATABASE_URL too, or unset SNAPSHOT_MCP_SIGNING_KEY: a single server"
            " uses the key in its data folder, or a key of its own in"
            " SNAPSHOT_MCP_SIGNING_KEY_FILE.",
        )


def _check_issuer(values: Mapping[str, str], audiences: Sequence[str]) -> None:
    for name in (_AUDIENCE, _JWKS_URL):
        if values.get(name) and not values.get(_ISSUER):
            raise ConfigurationError(
                f"{name} is set but {_ISSUER} is not.", f"Set {_ISSUER} too, or unset {name}."
            )
    if values.get(_ISSUER) and not audiences and not values.get(_PUBLIC_URL):
        raise ConfigurationError(
            f"{_ISSUER} is set but {_AUDIENCE} is not. Tokens must be issued for this service.",
            "Set it to the aud claim of the tokens, or set"
            f" {_PUBLIC_URL} to the address that clients use, if that is their aud claim.",
        )
    for name in (_ISSUER, _JWKS_URL):
        if url := values.get(name):
            reason = "it decides which tokens are trusted"
            validate_url(name, url, example="https://login.example", reason=reason)
    if not all(_AUDIENCE_ENTRY.fullmatch(audience) for audience in audiences):
        raise ConfigurationError(
            f"{_AUDIENCE} must be one or more values of the aud claim, separated by commas.",
            f"Examples: {_PUBLIC_URL_EXAMPLE}, api://snapshots, or the id of an application.",
        )


def _read_public_url(values: Mapping[str, str], audiences: Sequence[str]) -> str | None:
    """Return the address that clients use: the one that is set, or the first audience that is one.

    Raises:
        ConfigurationError: The value is not an address.
    """
    reason = "clients send their tokens to it"
    if url := values.get(_PUBLIC_URL):
        validate_url(_PUBLIC_URL, url, example=_PUBLIC_URL_EXAMPLE, reason=reason)
        return canonical_identifier(url)
    for audience in audiences:
        with suppress(ConfigurationError):
            validate_url(_AUDIENCE, audience, example=_PUBLIC_URL_EXAMPLE, reason=reason)
            return canonical_identifier(audience)
    return None


def _read_static_tokens(values: Mapping[str, str]) -> tuple[StaticToken, ...]:
    token, path = values.get(_TOKEN), read_path(_TOKEN_FILE, values)
    if token and path:
        raise ConfigurationError(f"{_TOKEN} and {_TOKEN_FILE} are both set.", "Unset one of them.")
    if path:
        return read_static_tokens(_TOKEN_FILE, path)
    return (parse_static_token(_TOKEN, token, principal=UNNAMED_PRINCIPAL),) if token else ()


def _read_list(
    name: str, values: Mapping[str, str], pattern: re.Pattern[str], example: str
) -> tuple[str, ...]:
    entries = tuple(_split(values.get(name, "").lower()))
    if not all(pattern.fullmatch(entry) for entry in entries):
        raise ConfigurationError(
            f"{name} must be values such as {example} or {example}:8765, separated by commas."
        )
    return entries


def _split(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def _read_quota(name: str, values: Mapping[str, str]) -> int:
    text = values.get(name, "")
    if not text:
        return DEFAULT_REQUESTS_PER_MINUTE
    is_number = text.isascii() and text.isdigit()
    if is_number and len(text) <= len(str(MAX_REQUESTS_PER_MINUTE)):
        number = int(text)
        if 0 < number <= MAX_REQUESTS_PER_MINUTE:
            return number
    raise ConfigurationError(f"{name} must be a whole number, 1 to {MAX_REQUESTS_PER_MINUTE}.")
