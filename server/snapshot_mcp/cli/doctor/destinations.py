"""The hosts that `snapshot-mcp doctor` contacts, without credentials."""

import httpx

from snapshot_mcp.cloud.connection import find_proxy
from snapshot_mcp.cloud.connection_failures import Destination
from snapshot_mcp.settings.redaction import host_and_port


def find_destination(url: str, setting: str) -> Destination:
    """Return the host of an address, and the proxy through which it is contacted.

    Args:
        url: the address.
        setting: name of the setting that contains it.
    """
    address = httpx.URL(url)
    # Plain HTTP is for loopback only, without a proxy.
    proxy = find_proxy(address) if address.scheme == "https" else None
    return Destination(host_and_port(url), host_and_port(proxy) if proxy else "", setting)
