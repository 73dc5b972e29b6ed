"""Check of `snapshot-mcp doctor` on the identity provider: can its keys be fetched?"""

from snapshot_mcp.cli.doctor.findings import Finding
from snapshot_mcp.cloud.connection_failures import (
    ConnectionFailure,
    describe_remedy,
    find_destination,
    host_and_port,
)
from snapshot_mcp.core.errors import ConfigurationError, ProtocolError
from snapshot_mcp.transports.http.jwks import JwksClient
from snapshot_mcp.transports.http.settings import HttpSettings

_ISSUER = "SNAPSHOT_MCP_AUTH_ISSUER"
_JWKS_URL = "SNAPSHOT_MCP_AUTH_JWKS_URL"


async def check_issuer(http_settings: HttpSettings) -> list[Finding]:
    """Fetch the keys of the issuer, if one is set."""
    if http_settings.issuer is None:
        return []
    url, setting = http_settings.issuer, _ISSUER
    if http_settings.jwks_url is not None:
        url, setting = http_settings.jwks_url, _JWKS_URL
    try:
        keys = await JwksClient(http_settings.issuer, http_settings.jwks_url).fetch_keys()
    except ConnectionFailure as error:
        destination = find_destination(url, setting, error)
        unknown = f"{destination.host} cannot be reached; check {setting}"
        return [Finding("bad", "issuer", describe_remedy(error, destination) or unknown)]
    except ConfigurationError as error:
        return [Finding("bad", "issuer", str(error))]
    except ProtocolError as error:
        text = f"{host_and_port(url)}: {error} Check that {setting} is exactly its address."
        return [Finding("bad", "issuer", text)]
    if not keys:
        return [Finding("bad", "issuer", f"{host_and_port(url)} publishes no key")]
    return [Finding("ok", "issuer", f"{len(keys)} keys, from {host_and_port(url)}")]
