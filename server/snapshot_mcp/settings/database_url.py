"""Validation of the database's address: what libpq would reject only when it connects."""

from pathlib import Path

from snapshot_mcp.core.errors import ConfigurationError

MAX_PORT = 65_535
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "gssencmode": ("disable", "prefer", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    "sslnegotiation": ("postgres", "direct"),
    "load_balance_hosts": ("disable", "random"),
    "target_session_attrs": (
        *("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    ),
}
_NUMBERS = (
    *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval"),
    *("keepalives_count", "tcp_user_timeout"),
)
_FILES = ("sslrootcert", "sslcert", "sslkey")
_SYSTEM_CERTIFICATES = "system"


def validate_database_url(name: str, url: str) -> None:
    """Check the syntax and the options of a PostgreSQL address, without connecting.

    Source: https://www.postgresql.org/docs/current/libpq-connect.html (parameter key words).

    Args:
        name: name of the setting.
        url: the address; it is not shown.

    Raises:
        ConfigurationError: libpq does not know an option, or its value cannot be used.
    """
    from psycopg import ProgrammingError  # noqa: PLC0415 - only with a database
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - as above

    try:
        options = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    except ProgrammingError as error:
        raise ConfigurationError(
            f"{name} is not a valid address: it cannot be parsed, or has an unknown option after"
            ' "?" (it is not shown here).',
            "Percent-encode special characters in its user and password, and check the options.",
        ) from error
    if problem := _find_problem(options):
        raise ConfigurationError(f"{name} is not valid: {problem} (it is not shown here).")


def _find_problem(options: dict[str, str]) -> str:
    for port in options.get("port", "").split(","):
        if port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= MAX_PORT):
            return f"its port must be a number between 1 and {MAX_PORT}"
    for option, choices in _CHOICES.items():
        if option in options and options[option] not in choices:
            return f"its option {option} must be one of {', '.join(choices)}"
    for option in _NUMBERS:
        if option in options and not options[option].lstrip("-").isdecimal():
            return f"its option {option} must be a whole number"
    for option in _FILES:
        path = options.get(option, "")
        if path and path != _SYSTEM_CERTIFICATES and not Path(path).is_file():
            return f"the file of its option {option} does not exist"
    return ""
