"""Settings from environment variables, checked once at startup."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sanitize import quoted, sanitize
from snapshot_mcp.settings.names import read_values
from snapshot_mcp.settings.reference import DEFAULT_API_URL
from snapshot_mcp.settings.signing_key import SigningKey, read_key_file
from snapshot_mcp.settings.validation import (
    parse_signing_key,
    require_extra,
    validate_api_key,
    validate_otlp_endpoint,
    validate_url,
)

EMBEDDED_API_KEY = "sandbox"
EMBEDDED_URL = "http://embedded.invalid/v1"
EMBEDDED_CLOUD = "embedded"
"""The name of the embedded cloud in the ledger."""
CLOUD_FILE = "cloud.db"
LEDGER_FILE = "ledger.db"
SIGNING_KEY_FILE = "SNAPSHOT_MCP_SIGNING_KEY_FILE"
MAX_TIMEOUT_SECONDS = 300.0
MAX_TOOLSET_NAME_LENGTH = 40
OTLP_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
_SIGNING_KEY = "SNAPSHOT_MCP_SIGNING_KEY"
_KEY_NAMES = ("SNAPSHOT_MCP_API_KEY", "HYPERSTACK_API_KEY")

Consent = Literal["auto", "human"]
CONSENTS: tuple[Consent, ...] = get_args(Consent)
Toolset = Literal["core", "retention", "images", "review"]
TOOLSETS: tuple[Toolset, ...] = get_args(Toolset)


class Settings(BaseModel):
    """The settings of one server.

    Attributes:
        api_key: the cloud's API key; None to use the embedded cloud.
        api_url: base address of the cloud's REST API, without a trailing slash.
        data_dir: folder of the databases; None for the platform's user data folder.
        read_only: whether only reading tools are listed and callable.
        consent: the minimum evidence for destructive tools. With "person", which the command
            `call` sets, a commit needs a person who can be asked, and a plan does not.
        timeout: limit of one HTTP call, in seconds.
        policy: the operator's policy file; None for no policy.
        toolsets: the toolsets whose tools are listed and callable; set by the command line.
        database_url: the PostgreSQL database that replicas share; None to use local files.
        metrics: whether `/metrics` is served beside `/mcp`.
        exports: whether spans and metrics are sent over OTLP.
        signing_key: the key that signs plans and protects the ledger; None to use the key in the
            data folder.
        signing_key_file: the file that holds it; None if no setting names one.
        embedded_misbehaviour: how the embedded cloud fails on purpose; empty if it does not.
        embedded_requested: whether SNAPSHOT_MCP_CLOUD requests the embedded cloud.
        empty_key_name: name of the setting of the API key that is set to nothing; empty if none is.
    """

    model_config = ConfigDict(frozen=True)

    api_key: SecretStr | None = None
    api_url: str = DEFAULT_API_URL
    data_dir: Path | None = None
    read_only: bool = False
    consent: Consent | Literal["person"] = "auto"
    timeout: float = 10.0
    policy: Path | None = None
    toolsets: tuple[Toolset, ...] = TOOLSETS
    database_url: SecretStr | None = None
    metrics: bool = False
    exports: bool = False
    signing_key: SecretBytes | None = None
    signing_key_file: Path | None = None
    embedded_misbehaviour: str = ""
    embedded_requested: bool = False
    empty_key_name: str = ""

    @property
    def embedded(self) -> bool:
        """Whether the embedded cloud is used, because there is no API key."""
        return self.api_key is None

    @property
    def embedded_reason(self) -> str:
        """Why the embedded cloud is used, as a clause."""
        if self.embedded_requested:
            return "SNAPSHOT_MCP_CLOUD requests it"
        return f"{self.empty_key_name} is empty" if self.empty_key_name else "there is no API key"

    @property
    def cloud(self) -> str:
        """The cloud as the ledger names it: "embedded", or the address of its API.

        Different spellings of one address have one name.
        """
        if self.embedded:
            return EMBEDDED_CLOUD
        parts = urlsplit(self.api_url)
        port = ":443" if parts.scheme == "https" else ":80"
        return parts._replace(netloc=parts.netloc.lower().removesuffix(port)).geturl().rstrip("/")

    def data_folder(self) -> Path:
        """Return the absolute path of the data folder; it need not exist yet.

        Raises:
            ConfigurationError: none is set, and the user has no home folder.
        """
        return self.data_dir or _user_data_folder()

    def find_signing_key(self) -> SigningKey:
        """Return the source of the signing key; nothing is read or created yet."""
        return SigningKey(self.signing_key, self.data_folder())


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and check the settings.

    Args:
        environment: names and values, as in `os.environ`. An empty value counts as absent,
            because desktop clients pass empty strings for options that a user left empty; some
            pass the placeholder of a bundle. Quotation marks around a value are ignored.

    Raises:
        ConfigurationError: a setting is unknown or invalid; the message names it and its valid
            values, or the closest setting.
    """
    empty_key_name = next((name for name in _KEY_NAMES if name in environment), "")
    environment = read_values(environment)
    key_name, key = _first_value(environment, *_KEY_NAMES)
    embedded_requested = _read_embedded_requested("SNAPSHOT_MCP_CLOUD", environment)
    url_name, url = _first_value(environment, "SNAPSHOT_MCP_API_URL", "HYPERSTACK_API_URL")
    if url and not key:
        raise ConfigurationError(
            f"{url_name} is set but there is no API key for it.",
            "Set SNAPSHOT_MCP_API_KEY too, or unset the address to use the embedded cloud.",
        )
    if key and embedded_requested:
        raise ConfigurationError(
            f"{key_name} is set, but SNAPSHOT_MCP_CLOUD requests the embedded cloud.",
            f"Unset SNAPSHOT_MCP_CLOUD to use the real cloud, or unset {key_name}.",
        )
    return Settings(
        api_key=SecretStr(validate_api_key(key_name, key)) if key else None,
        api_url=validate_url(url_name, url, example=DEFAULT_API_URL).rstrip("/")
        if url
        else DEFAULT_API_URL,
        data_dir=_read_folder("SNAPSHOT_MCP_DATA_DIR", environment),
        read_only=_read_bool("SNAPSHOT_MCP_READ_ONLY", environment),
        consent=_read_consent("SNAPSHOT_MCP_CONSENT", environment),
        timeout=_read_timeout("SNAPSHOT_MCP_TIMEOUT", environment),
        database_url=read_database_url(environment),
        metrics=_read_metrics("SNAPSHOT_MCP_METRICS", environment),
        exports=_read_exports(environment),
        policy=read_path("SNAPSHOT_MCP_POLICY", environment),
        signing_key=read_signing_key(environment),
        signing_key_file=read_path(SIGNING_KEY_FILE, environment),
        embedded_misbehaviour=_read_misbehaviour(
            "SNAPSHOT_MCP_EMBEDDED_MISBEHAVIOUR", environment, embedded=not key
        ),
        embedded_requested=embedded_requested,
        empty_key_name="" if key else empty_key_name,
    )


def read_toolsets(text: str) -> tuple[Toolset, ...]:
    """Return the toolsets in a comma-separated list.

    Raises:
        ConfigurationError: a name is unknown; the message lists the valid names.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in TOOLSETS:
            raise ConfigurationError(
                f"There is no toolset {quoted(sanitize(name, MAX_TOOLSET_NAME_LENGTH).text)}.",
                f"Pass --tools a comma-separated list of: {', '.join(TOOLSETS)}.",
            )
    return tuple(name for name in TOOLSETS if name in names)


def read_data_folder(environment: Mapping[str, str]) -> Path:
    """Return the data folder, for commands that need no other setting.

    Raises:
        ConfigurationError: the path is not absolute, or is not a folder; or none is set, and the
            user has no home folder.
    """
    name = "SNAPSHOT_MCP_DATA_DIR"
    return _read_folder(name, read_values(environment, name)) or _user_data_folder()


def read_database_url(environment: Mapping[str, str]) -> SecretStr | None:
    """Return the address of the database that replicas share; None if it is not set.

    Raises:
        ConfigurationError: it is not the address of a PostgreSQL database, or its client library
            is not installed.
    """
    name = "SNAPSHOT_MCP_DATABASE_URL"
    value = read_values(environment, name).get(name, "")
    if not value:
        return None
    if not value.startswith(("postgresql://", "postgres://")) or not value.isprintable():
        raise ConfigurationError(
            f"{name} must be an address such as postgresql://USER@HOST/DATABASE"
            " (its current value is not shown here)."
        )
    require_extra(name, "psycopg", "psycopg_pool")
    from snapshot_mcp.settings.database_url import validate_database_url  # noqa: PLC0415 - rarely set

    validate_database_url(name, value)
    return SecretStr(value)


def _read_metrics(name: str, environment: Mapping[str, str]) -> bool:
    enabled = _read_bool(name, environment)
    if enabled:
        require_extra(name, "opentelemetry.sdk", "opentelemetry.exporter.prometheus")
    return enabled


def _read_exports(environment: Mapping[str, str]) -> bool:
    name = next((name for name in OTLP_ENDPOINTS if environment.get(name, "").strip()), None)
    if name is None or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    for endpoint in OTLP_ENDPOINTS:
        validate_otlp_endpoint(endpoint, environment.get(endpoint, ""))
    require_extra(name, "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    return True


def _user_data_folder() -> Path:
    import platformdirs  # noqa: PLC0415 - needed by the first call, not by the start

    try:
        folder = Path(platformdirs.user_data_dir("snapshot-mcp", appauthor=False))
    except RuntimeError:  # earlier versions of platformdirs return a relative path instead
        folder = Path()
    if not folder.is_absolute():
        raise ConfigurationError(
            "This user has no home folder, so there is no place for the ledger.",
            "Set SNAPSHOT_MCP_DATA_DIR to the absolute path of a writable folder.",
        )
    return folder


def read_sandbox_key(environment: Mapping[str, str]) -> str:
    """Return the API key that `snapshot-mcp sandbox` accepts.

    Raises:
        ConfigurationError: the key contains a character that HTTP headers cannot carry.
    """
    name = "SNAPSHOT_MCP_API_KEY"
    key = read_values(environment, name).get(name, "")
    return validate_api_key(name, key) if key else EMBEDDED_API_KEY


def _first_value(environment: Mapping[str, str], *names: str) -> tuple[str, str]:
    for name in names:
        if value := environment.get(name, "").strip():
            return name, value
    return names[0], ""


def _read_folder(name: str, environment: Mapping[str, str]) -> Path | None:
    folder = read_path(name, environment)
    if folder is not None and os.path.lexists(folder) and not folder.is_dir():
        raise ConfigurationError(f"{name} must be a folder, but its path is something else.")
    return folder


def read_path(name: str, environment: Mapping[str, str]) -> Path | None:
    """Return the absolute path in a setting; None if it is not set.

    Raises:
        ConfigurationError: the path is not absolute.
    """
    value = environment.get(name, "").strip()
    if not value:
        return None
    try:
        path = Path(value).expanduser()
    except RuntimeError:  # "~name" with an unknown user
        path = Path()
    if not path.is_absolute():
        # Desktop clients start servers in an arbitrary folder.
        raise ConfigurationError(f"{name} must be an absolute path.")
    return path


def _read_misbehaviour(name: str, environment: Mapping[str, str], *, embedded: bool) -> str:
    value = environment.get(name, "").strip()
    if not value:
        return ""
    if not embedded:
        raise ConfigurationError(
            f"{name} is set, but the embedded cloud is not used.",
            f"Unset {name}, or unset the API key to use the embedded cloud.",
        )
    from snapshot_mcp.sandbox.misbehaviour import parse_misbehaviour  # noqa: PLC0415 - rarely set

    try:
        parse_misbehaviour(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error.args[0]}", error.next_step) from error
    return value


def _read_bool(name: str, environment: Mapping[str, str]) -> bool:
    value = environment.get(name, "").strip().lower()
    if value in {"", "0", "false", "no", "off"}:
        return False
    if value in {"1", "true", "yes", "on"}:
        return True
    raise ConfigurationError(f"{name} must be true or false.")


def _read_consent(name: str, environment: Mapping[str, str]) -> Consent:
    value = environment.get(name, "").strip().lower()
    match value:
        case "" | "auto":
            return "auto"
        case "human":
            return "human"
        case _:
            raise ConfigurationError(f"{name} must be auto or human.")


def _read_embedded_requested(name: str, environment: Mapping[str, str]) -> bool:
    value = environment.get(name, "").strip().lower()
    if value not in {"", "embedded"}:
        raise ConfigurationError(
            f"{name} must be embedded, or unset to use the cloud of SNAPSHOT_MCP_API_KEY."
        )
    return value == "embedded"


def _read_timeout(name: str, environment: Mapping[str, str]) -> float:
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


def read_signing_key(environment: Mapping[str, str]) -> SecretBytes | None:
    """Return the signing key in the settings; None to use the one in the data folder.

    Raises:
        ConfigurationError: it is not valid, its file cannot be read or trusted, or both settings
            are set.
    """
    values = read_values(environment, _SIGNING_KEY, SIGNING_KEY_FILE)
    value, path = values.get(_SIGNING_KEY, ""), read_path(SIGNING_KEY_FILE, values)
    if path is None:
        return parse_signing_key(_SIGNING_KEY, value) if value else None
    if value:
        raise ConfigurationError(
            f"{_SIGNING_KEY} and {SIGNING_KEY_FILE} are both set.", "Unset one of them."
        )
    return read_key_file(SIGNING_KEY_FILE, path)
