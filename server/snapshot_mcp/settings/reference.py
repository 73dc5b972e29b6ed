"""The settings as people are told of them: the source of the README's table and the reference."""

from typing import NamedTuple

from snapshot_mcp.settings.environment import DEFAULT_API_URL


class SettingDoc(NamedTuple):
    """One setting.

    Attributes:
        names: the variables that set it; the first that has a value counts.
        meaning: what it does, for people, in Markdown.
        default: what counts where no variable has a value, in Markdown.
        secret: its value is never shown.
    """

    names: tuple[str, ...]
    meaning: str
    default: str
    secret: bool = False


SETTINGS = (
    SettingDoc(
        ("SNAPSHOT_MCP_API_KEY", "HYPERSTACK_API_KEY"),
        "with a key: the real cloud; without: the embedded one",
        "none",
        secret=True,
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_API_URL", "HYPERSTACK_API_URL"),
        "base address of the API; https, or http on loopback",
        f"`{DEFAULT_API_URL}`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_DATA_DIR",),
        "absolute path of the folder for the embedded cloud, the ledger and the signing key",
        "the platform's user data folder",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_READ_ONLY",),
        "`true`: only the reading tools are listed and callable",
        "`false`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_CONSENT",),
        "`auto`: the strongest evidence that the client can give, never less than the arguments;"
        " `human`: refuse deletes and restores where no person can be asked",
        "`auto`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_TIMEOUT",), "seconds for one HTTP call, above 0 and at most 300", "`10`"
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_POLICY",),
        "absolute path of a policy file, see [docs/policy.md](docs/policy.md);"
        " the resource `snapshot://policy` shows it",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_DATABASE_URL",),
        "address of a PostgreSQL database that replicas share (`postgresql://USER@HOST/DATABASE`):"
        " the ledger, and what is held across all of them",
        "none: files of this machine",
        secret=True,
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_LOG_FORMAT",),
        "`text` or `json`: how a record on stderr is written",
        "`text`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_LOG_LEVEL",),
        "`debug`, `info`, `warning` or `error`: the least that is logged; calls are told at `info`",
        "`warning`",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_METRICS",),
        "`true`: `serve --transport http` shows metrics at `/metrics`, as Prometheus reads them",
        "`false`",
    ),
    SettingDoc(
        ("OTEL_EXPORTER_OTLP_ENDPOINT",),
        "where spans and metrics are sent over OTLP (HTTP); the other standard variables of"
        " OpenTelemetry count as well",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_SIGNING_KEY",),
        "at least 32 random bytes in base64url, in place of the key in the data folder: servers"
        " that share it take each other's plans",
        "made in the data folder",
        secret=True,
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_AUTH_ISSUER",),
        "over HTTP: whose JWTs are taken, as they name it, see [docs/deploy.md](docs/deploy.md)",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_AUTH_AUDIENCE",),
        "the address by which clients reach the service, which the JWTs must be for",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_AUTH_JWKS_URL",),
        "where the issuer's keys are",
        "where its metadata says",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_BEARER_TOKEN",),
        "over HTTP: a static token of at least 32 characters that has all scopes",
        "none",
        secret=True,
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_BEARER_TOKEN_FILE",),
        "absolute path of a file of such tokens; a line is a token, or a name, a token, scopes",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_ALLOWED_HOSTS",),
        "values of `Host` that are taken, between commas, beside loopback's and the audience's",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_ALLOWED_ORIGINS",),
        "values of `Origin` that are taken, between commas, beside loopback's and the audience's",
        "none",
    ),
    SettingDoc(
        ("SNAPSHOT_MCP_REQUESTS_PER_MINUTE",),
        "requests that one principal may make, where everybody is asked who they are",
        "`600`",
    ),
)
