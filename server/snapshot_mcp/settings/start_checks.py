"""Checks at the start of what the first call would need: the data folder, proxy and certificates.

They create nothing, and import nothing that a start does not need.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import CLOUD_FILE, LEDGER_FILE, Settings
from snapshot_mcp.settings.validation import require_extra

_PROXY_NAMES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def check_start(settings: Settings, environment: Mapping[str, str], *, slow: bool) -> None:
    """Check the data folder, and the settings of the network if the real cloud is used.

    Args:
        settings: the settings.
        environment: the environment variables.
        slow: also check the platform's default data folder, which takes 5 ms to find.

    Raises:
        ConfigurationError: the first call would fail.
    """
    if needs_data_folder(settings) and (slow or settings.data_dir is not None):
        check_data_folder(settings.data_folder())
    if not settings.embedded and settings.api_url.lower().startswith("https:"):
        check_network(settings.api_url, environment)


def needs_data_folder(settings: Settings) -> bool:
    """Return whether something is written to the data folder."""
    return settings.embedded or settings.database_url is None or settings.signing_key is None


def check_data_folder(folder: Path) -> None:
    """Check that the data folder, or the folder in which it will be created, can be written.

    Raises:
        ConfigurationError: it cannot be used.
    """
    if problem := find_folder_problem(folder):
        raise ConfigurationError(
            f"The data folder {folder} cannot be used: {problem}.",
            "Set SNAPSHOT_MCP_DATA_DIR to a folder that this user can write.",
        )


def find_folder_problem(folder: Path) -> str:
    """Return why the data folder cannot be used, as a clause; empty if it can."""
    existing = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)
    if not existing.is_dir():
        return "it is not a folder" if existing == folder else f"{existing} is not a folder"
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return "this user cannot write it" if existing == folder else "it cannot be created"
    for name in (LEDGER_FILE, CLOUD_FILE):
        file = folder / name
        if os.path.lexists(file):
            if not file.is_file():
                return f"{name} in it is not a file"
            if not os.access(file, os.R_OK | os.W_OK):
                return f"this user cannot write {name} in it"
    return ""


def check_network(url: str, environment: Mapping[str, str]) -> None:
    """Check the proxy and the certificates that the environment sets for an https address.

    Raises:
        ConfigurationError: one of them cannot be used; the message does not show its value.
    """
    name = next((name for name in _PROXY_NAMES if environment.get(name, "").strip()), "")
    if name and not _is_proxy(environment[name].strip()) and not _is_bypassed(url):
        raise ConfigurationError(
            f"{name} is not the address of a proxy (it is not shown here).",
            "Set it to an address such as http://proxy.example:3128, or unset it.",
        )
    if name and environment[name].strip().lower().startswith("socks"):
        require_extra(name, "socksio", install="httpx[socks]")
    _check_certificates(environment)


def _is_proxy(value: str) -> bool:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        return parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_bypassed(url: str) -> bool:
    from urllib.request import proxy_bypass  # noqa: PLC0415 - only for an error

    return bool(proxy_bypass(urlsplit(url).hostname or ""))


def _check_certificates(environment: Mapping[str, str]) -> None:
    file = environment.get("SSL_CERT_FILE", "")
    folder = environment.get("SSL_CERT_DIR", "")
    if file:
        import ssl  # noqa: PLC0415 - only if it is set

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"SSL_CERT_FILE is not a file of certificates ({type(error).__name__}).",
                "Set it to a PEM file that contains the certificate of the authority, or unset it.",
            ) from error
    elif folder and not any(Path(part).is_dir() for part in folder.split(os.pathsep)):
        raise ConfigurationError("SSL_CERT_DIR is not a folder.", "Correct or unset it.")
