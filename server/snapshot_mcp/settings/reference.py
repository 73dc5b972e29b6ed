"""Documentation of every setting: the source of the tables in the README and the reference."""

from typing import NamedTuple

DEFAULT_API_URL = "https://infrahub-api.nexgencloud.com/v1"


class SettingDoc(NamedTuple):
    """The documentation of one setting.

    Attributes:
        names: the variables that set it; the first one with a value is used.
        meaning: what it does, in Markdown.
        default: the value used if no variable is set, in Markdown.
        secret: whether its value is never shown.
    """

    names: tuple[str, ...]
    meaning: str
    default: str
    secret: bool = False


SETTINGS = (
    SettingDoc(
        ("SNAPSHOT_MCP_API_KEY", "HYPERSTACK_API_KEY"),
        "API key of the real cloud; without a key, the embedded cloud is used",
        "none",
        secret=True,
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_API_URL", "HYPERSTACK_API_URL"),
        "base address of the API: https, or http on loopback",
        f"`{DEFAULT_API_URL}`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_CLOUD",),
        "`embedded`: use the embedded cloud, without an API key; `serve --transport http` uses it"
        " only then",
        "the cloud of the API key; over stdio without a key, the embedded cloud",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_DATA_DIR",),
        "absolute path of the folder for the embedded cloud, the ledger and the signing key",
        "the platform's user data folder",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_READ_ONLY",),
        "`true`: only reading tools are listed and callable",
        "`false`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_CONSENT",),
        "`auto`: use the strongest evidence that the client supports, at least the arguments;"
        " `human`: refuse deletes and restores if no person can be asked",
        "`auto`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_TIMEOUT",),
        "seconds for one HTTP call, above 0 and at most 300",
        "`10`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_POLICY",),
        "absolute path of a policy file (see [docs/policy.md](docs/policy.md));"
        " the resource `snapshot://policy` shows it",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_EMBEDDED_MISBEHAVIOUR",),
        "how the embedded cloud fails on purpose, such as `stale-reads=5,error-500=0.1` (see"
        " [docs/embedded-cloud.md](docs/embedded-cloud.md))",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_DATABASE_URL",),
        "address of a PostgreSQL database that replicas share (`postgresql://USER@HOST/DATABASE`):"
        " the ledger, the change lock and the rate limit",
        "none: local files",
        secret=True,
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_LOG_FORMAT",),
        "`text` or `json`: format of the log on stderr",
        "`text`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_LOG_LEVEL",),
        "`debug`, `info`, `warning` or `error`: minimum level; calls are logged at `info`",
        "`warning`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_METRICS",),
        "`true`: `serve --transport http` serves metrics for Prometheus at `/metrics`",
        "`false`",
    ),
    SettingDoc(
        ("OTEL_EXPORTER_OTLP_ENDPOINT",),
        "address to which spans and metrics are sent over OTLP (HTTP); the other standard variables"
        " of OpenTelemetry work too",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_SIGNING_KEY",),
        "at least 32 random bytes in base64url, instead of the key in the data folder: servers that"
        " share it and a database accept each other's plans; over HTTP, only with"
        " `SNAPSHOT_MCP_DATABASE_URL`",
        "created in the data folder",
        secret=True,
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_SIGNING_KEY_FILE",),
        "absolute path of a file with the signing key, outside the data folder, so that someone"
        " who can change the ledger cannot forge it (see"
        " [docs/security.md](docs/security.md#the-signing-key))",
        "created in the data folder",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_PUBLIC_URL",),
        "over HTTP: the address that clients use, such as `https://snapshots.example/mcp`; see"
        " [docs/deploy.md](docs/deploy.md)",
        "the first audience that is an address",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_AUTH_ISSUER",),
        "over HTTP: the issuer whose JWTs are accepted, as in their `iss` claim; see"
        " [docs/identity-providers.md](docs/identity-providers.md)",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_AUTH_AUDIENCE",),
        "comma-separated audiences; JWTs must have one of them in their `aud` claim",
        "`SNAPSHOT_MCP_PUBLIC_URL`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_AUTH_JWKS_URL",),
        "address of the issuer's keys",
        "from the issuer's metadata",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_BEARER_TOKEN",),
        "over HTTP: a static token with all scopes, at least 32 characters",
        "none",
        secret=True,
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_BEARER_TOKEN_FILE",),
        "absolute path of a file of tokens; each line is a token, or a name, a token and scopes",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_ALLOWED_HOSTS",),
        "comma-separated `Host` values to accept, besides loopback and the host of"
        " `SNAPSHOT_MCP_PUBLIC_URL`",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_ALLOWED_ORIGINS",),
        "comma-separated `Origin` values to accept, besides loopback and `SNAPSHOT_MCP_PUBLIC_URL`;"
        " their pages can read the answers",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_REQUESTS_PER_MINUTE",),
        "maximum requests per principal and minute, if authentication is configured",
        "`600`",
    ),
)
