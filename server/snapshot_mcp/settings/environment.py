"""What the environment says, checked once at start."""

import base64
import ipaddress
import os
import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sanitize import quoted, sanitize

DEFAULT_API_URL = "https://infrahub-api.nexgencloud.com/v1"
EMBEDDED_API_KEY = "sandbox"
EMBEDDED_URL = "http://embedded.invalid/v1"
CLOUD_FILE = "cloud.db"
LEDGER_FILE = "ledger.db"
MAX_TIMEOUT_SECONDS = 300.0
MAX_TOOLSET_NAME_LENGTH = 40
OTLP_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
MIN_KEY_BYTES = 32
_LEFT_OUT = "${user_config."

Consent = Literal["auto", "human"]
CONSENTS: tuple[Consent, ...] = get_args(Consent)
Toolset = Literal["core", "retention", "images", "review"]
TOOLSETS: tuple[Toolset, ...] = get_args(Toolset)


class Settings(BaseModel):
    """The settings of one server.

    Attributes:
        api_key: the cloud's key; None means the embedded cloud.
        api_url: base address of the cloud's REST API, without a slash at the end.
        data_dir: folder of the databases; None means the platform's user data folder.
        read_only: only reading tools are listed and callable.
        consent: how much evidence a destructive tool needs at least.
        timeout: seconds for one HTTP call.
        policy: the operator's policy file; None for no policy.
        toolsets: whose tools are listed and callable; the command line says which.
        database_url: the PostgreSQL database that replicas share; None for files of this machine.
        metrics: whether `/metrics` is served beside `/mcp`.
        exports: whether spans and metrics are sent over OTLP.
        signing_key: signs plans in place of the key in the data folder; None for that one.
    """

    model_config = ConfigDict(frozen=True)

    api_key: SecretStr | None = None
    api_url: str = DEFAULT_API_URL
    data_dir: Path | None = None
    read_only: bool = False
    consent: Consent = "auto"
    timeout: float = 10.0
    policy: Path | None = None
    toolsets: tuple[Toolset, ...] = TOOLSETS
    database_url: SecretStr | None = None
    metrics: bool = False
    exports: bool = False
    signing_key: SecretBytes | None = None

    @property
    def embedded(self) -> bool:
        """Whether the embedded cloud is used, for want of a key."""
        return self.api_key is None

    def data_folder(self) -> Path:
        """The folder of the databases and the signing key, absolute; it need not exist yet."""
        return self.data_dir or _user_data_folder()


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and check the settings.

    Args:
        environment: names and values, as `os.environ` has them. An empty value counts as absent,
            because desktop clients write empty strings for what a user left out; some leave the
            placeholder of a bundle.

    Raises:
        ConfigError: one sentence that names the setting and what it takes.
    """
    environment = non_empty_values(environment)
    key_name, key = _first(environment, "SNAPSHOT_MCP_API_KEY", "HYPERSTACK_API_KEY")
    url_name, url = _first(environment, "SNAPSHOT_MCP_API_URL", "HYPERSTACK_API_URL")
    if url and not key:
        raise ConfigurationError(
            f"{url_name} is set but there is no API key for it.",
            "Set SNAPSHOT_MCP_API_KEY too, or unset the address to use the embedded cloud.",
        )
    return Settings(
        api_key=SecretStr(validate_api_key(key_name, key)) if key else None,
        api_url=validate_url(url_name, url).rstrip("/") if url else DEFAULT_API_URL,
        data_dir=_folder("SNAPSHOT_MCP_DATA_DIR", environment),
        read_only=_switch("SNAPSHOT_MCP_READ_ONLY", environment),
        consent=_consent("SNAPSHOT_MCP_CONSENT", environment),
        timeout=_seconds("SNAPSHOT_MCP_TIMEOUT", environment),
        database_url=read_database_url(environment),
        metrics=_metrics("SNAPSHOT_MCP_METRICS", environment),
        exports=_exports(environment),
        policy=read_path("SNAPSHOT_MCP_POLICY", environment),
        signing_key=_signing_key("SNAPSHOT_MCP_SIGNING_KEY", environment),
    )


def non_empty_values(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment without what desktop clients leave in place of a value."""
    return {name: it for name, it in environment.items() if not it.startswith(_LEFT_OUT)}


def read_toolsets(text: str) -> tuple[Toolset, ...]:
    """The toolsets that `text` names, between commas.

    Raises:
        ConfigError: there is none of such a name; the sentence lists those that there are.
    """
    wanted = [name.strip() for name in text.split(",")]
    for name in wanted:
        if name not in TOOLSETS:
            raise ConfigurationError(
                f"There is no toolset {quoted(sanitize(name, MAX_TOOLSET_NAME_LENGTH).text)}.",
                f"Give --tools one or more of these, between commas: {', '.join(TOOLSETS)}.",
            )
    return tuple(name for name in TOOLSETS if name in wanted)


def read_data_folder(environment: Mapping[str, str]) -> Path:
    """The data folder, for commands that need no other setting.

    Raises:
        ConfigError: as in `read_settings`.
    """
    return _folder("SNAPSHOT_MCP_DATA_DIR", environment) or _user_data_folder()


def read_database_url(environment: Mapping[str, str]) -> SecretStr | None:
    """The database that replicas share, if there is one.

    Raises:
        ConfigError: it is no address of a PostgreSQL database, or the client for it is missing.
    """
    value = environment.get("SNAPSHOT_MCP_DATABASE_URL", "").strip()
    if not value:
        return None
    if not value.startswith(("postgresql://", "postgres://")) or not value.isprintable():
        raise ConfigurationError(
            "SNAPSHOT_MCP_DATABASE_URL must be an address such as postgresql://USER@HOST/DATABASE"
            " (what it holds is not shown here)."
        )
    require_extra("SNAPSHOT_MCP_DATABASE_URL", "psycopg", "psycopg_pool")
    return SecretStr(value)


def _metrics(name: str, environment: Mapping[str, str]) -> bool:
    wanted = _switch(name, environment)
    if wanted:
        require_extra(name, "opentelemetry.sdk", "opentelemetry.exporter.prometheus")
    return wanted


def _exports(environment: Mapping[str, str]) -> bool:
    name = next((it for it in OTLP_ENDPOINTS if environment.get(it, "").strip()), None)
    if name is None or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    require_extra(name, "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    return True


def require_extra(name: str, *modules: str) -> None:
    """Refuse the setting of this name where a module that it needs is not installed.

    Raises:
        ConfigError: it is not.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - only a service needs it

    def is_missing(module: str) -> bool:
        try:
            return find_spec(module) is None
        except ModuleNotFoundError:  # the one that it is a part of
            return True

    if any(map(is_missing, modules)):
        raise ConfigurationError(
            f"{name} needs packages that are not installed.",
            "Install them with: pip install 'snapshot-mcp[service]'",
        )


def _user_data_folder() -> Path:
    import platformdirs  # noqa: PLC0415 - only the first call needs it, every start would pay

    return Path(platformdirs.user_data_dir("snapshot-mcp", appauthor=False))


def sandbox_key(environment: Mapping[str, str]) -> str:
    """The key that `snapshot-mcp sandbox` accepts.

    Raises:
        ConfigError: the given key cannot stand in an HTTP header.
    """
    given = environment.get("SNAPSHOT_MCP_API_KEY", "").strip()
    return validate_api_key("SNAPSHOT_MCP_API_KEY", given) if given else EMBEDDED_API_KEY


def validate_api_key(name: str, key: str) -> str:
    """`key`, when it can stand in an HTTP header.

    Raises:
        ConfigError: it holds a space, a control character or a letter beyond ASCII.
    """
    if any(character not in _HEADER_CHARACTERS for character in key):
        raise ConfigurationError(
            f"{name} holds a character that an API key cannot have (it is not shown here).",
            "Copy the key again, without quotes, spaces or line ends.",
        )
    return key


_HEADER_CHARACTERS = frozenset(string.ascii_letters + string.digits + string.punctuation)


def _first(environment: Mapping[str, str], *names: str) -> tuple[str, str]:
    for name in names:
        if value := environment.get(name, "").strip():
            return name, value
    return names[0], ""


def validate_url(
    name: str,
    value: str,
    *,
    example: str = DEFAULT_API_URL,
    why: str = "the API key travels with every call",
) -> str:
    """`value`, when it is an address that nobody can listen in on.

    Args:
        name: of the setting.
        value: what it holds.
        example: an address of the kind that is wanted.
        why: what makes plain http too little.

    Raises:
        ConfigError: it is no address, or plain http beyond this machine.
    """
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    plain = parts.scheme == "http" and host is not None and _is_loopback(host)
    odd = parts.query or parts.fragment or parts.username is not None
    if not host or odd or not _ADDRESS.fullmatch(value) or not _is_host(host):
        raise ConfigurationError(f"{name} must be an address such as {example}.")
    if parts.scheme != "https" and not plain:
        raise ConfigurationError(
            f"{name} must begin with https://, because {why}.",
            "Plain http:// is accepted for 127.0.0.1 and localhost only.",
        )
    return value


_ADDRESS = re.compile(r"[A-Za-z0-9.:/_~%\[\]-]+")
_LABEL = re.compile(r"(?!xn--)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _is_host(host: str) -> bool:
    if all(_LABEL.fullmatch(label) for label in host.split(".")):
        return True
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _folder(name: str, environment: Mapping[str, str]) -> Path | None:
    folder = read_path(name, environment)
    if folder is not None and os.path.lexists(folder) and not folder.is_dir():
        raise ConfigurationError(f"{name} names something that is not a folder.")
    return folder


def read_path(name: str, environment: Mapping[str, str]) -> Path | None:
    """The absolute path that a setting holds; None where it holds nothing.

    Raises:
        ConfigError: it is not absolute.
    """
    value = environment.get(name, "").strip()
    if not value:
        return None
    try:
        path = Path(value).expanduser()
    except RuntimeError:  # "~name" of a user that does not exist
        path = Path()
    if not path.is_absolute():
        # A desktop client starts servers in a folder that nobody chose.
        raise ConfigurationError(f"{name} must be an absolute path.")
    return path


def _switch(name: str, environment: Mapping[str, str]) -> bool:
    value = environment.get(name, "").strip().lower()
    if value in {"", "0", "false", "no", "off"}:
        return False
    if value in {"1", "true", "yes", "on"}:
        return True
    raise ConfigurationError(f"{name} must be true or false.")


def _consent(name: str, environment: Mapping[str, str]) -> Consent:
    value = environment.get(name, "").strip().lower()
    match value:
        case "" | "auto":
            return "auto"
        case "human":
            return "human"
        case _:
            raise ConfigurationError(f"{name} must be auto or human.")


def _seconds(name: str, environment: Mapping[str, str]) -> float:
    value = environment.get(name, "").strip()
    if not value:
        return 10.0
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_TIMEOUT_SECONDS:
        raise ConfigurationError(f"{name} must be a number of seconds above 0 and at most 300.")
    return seconds


def _signing_key(name: str, environment: Mapping[str, str]) -> SecretBytes | None:
    value = environment.get(name, "").strip()
    if not value:
        return None
    try:
        key = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        key = b""
    if len(key) < MIN_KEY_BYTES:
        raise ConfigurationError(
            f"{name} must be at least {MIN_KEY_BYTES} random bytes in base64url"
            " (it is not shown here).",
            "Make one with: openssl rand -base64 32 | tr '+/' '-_'",
        )
    return SecretBytes(key)
