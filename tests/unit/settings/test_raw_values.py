"""Values as people paste them: quotes are removed, unresolved references are rejected unseen."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import read_sandbox_key, read_settings
from snapshot_mcp.settings.raw_values import check_resolved, check_secret, clean_value
from snapshot_mcp.telemetry.logs import read_log_settings
from snapshot_mcp.transports.http.settings import read_http_settings

API_KEY = "SNAPSHOT_MCP_API_KEY"
KEY = "0d5e8f6a-not-for-eyes"
REFERENCES = (
    "${env:SNAPSHOT_MCP_API_KEY}",
    "${SNAPSHOT_MCP_API_KEY}",
    "${input:key}",
    "${{ secrets.KEY }}",
    "${KEY:-}",
    "$SNAPSHOT_MCP_API_KEY",
    "$key",
    "$env:KEY",
    "$(cat key)",
    "%SNAPSHOT_MCP_API_KEY%",
    "!KEY!",
    "{{KEY}}",
    "{{ .Values.key }}",
    "{KEY}",
    "<your key>",
    "<KEY>",
    "env:SNAPSHOT_MCP_API_KEY",
    "process.env.KEY",
    'os.environ["KEY"]',
    "op://vault/item/field",
    "vault:secret/key",
    "file:/run/secrets/key",
    "ref+vault://secret/key",
    "#{KEY}#",
    "@Microsoft.KeyVault(SecretUri=x)",
    "prefix-${KEY}",
)
FORMS = ("{}", '"{}"', "'{}'", " {}\r\n", "\ufeff{}")
PLACEHOLDERS = (
    "...",
    "\u2026",
    "***",
    "[key]",
    "your-api-key",
    "YOUR_API_KEY_HERE",
    "your key",
    "insert-token-here",
    "changeme",
    "change-me",
    "undefined",
    "null",
    "None",
    "https://api.example/v1",
    "SNAPSHOT_MCP_API_KEY",
    f"SNAPSHOT_MCP_API_KEY={KEY}",
)


@pytest.mark.parametrize("value", [*REFERENCES, *PLACEHOLDERS])
def test_an_unresolved_key_is_rejected_and_not_shown(value: str) -> None:
    for form, name in product(FORMS, [API_KEY, "HYPERSTACK_API_KEY"]):
        with pytest.raises(ConfigurationError) as caught:
            read_settings({name: form.replace("{}", value)})
        text = str(caught.value)
        assert text.startswith(name)
        assert "not shown here" in text
        assert value == API_KEY or value not in text.removeprefix(name)
        assert KEY not in text
    with pytest.raises(ConfigurationError, match=API_KEY):
        read_sandbox_key({API_KEY: value})


@pytest.mark.parametrize(
    "name", ["SNAPSHOT_MCP_BEARER_TOKEN", "SNAPSHOT_MCP_AUTH_ISSUER", "SNAPSHOT_MCP_ALLOWED_HOSTS"]
)
def test_unresolved_settings_of_the_service_are_rejected(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} contains a reference"):
        read_http_settings({name: "${" + "X" * 40 + "}"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SNAPSHOT_MCP_API_URL", "https://${HOST}/v1"),
        ("SNAPSHOT_MCP_API_URL", "https://%HOST%/v1"),
        ("SNAPSHOT_MCP_API_URL", "$API_URL"),
        ("SNAPSHOT_MCP_DATABASE_URL", "postgresql://u:${PGPASSWORD}@127.0.0.1/db"),
        ("SNAPSHOT_MCP_DATABASE_URL", "postgresql://u:$PGPASSWORD@127.0.0.1/db"),
        ("SNAPSHOT_MCP_DATABASE_URL", "postgresql://u:<password>@127.0.0.1/db"),
        ("SNAPSHOT_MCP_DATABASE_URL", "%DATABASE_URL%"),
        ("SNAPSHOT_MCP_DATA_DIR", "/srv/$USER/data"),
        ("SNAPSHOT_MCP_DATA_DIR", "%APPDATA%\\data"),
        ("SNAPSHOT_MCP_POLICY", "/etc/${TEAM}.toml"),
        ("SNAPSHOT_MCP_SIGNING_KEY", "${SIGNING_KEY}"),
        ("SNAPSHOT_MCP_READ_ONLY", "${env:READ_ONLY}"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://$COLLECTOR:4318"),
    ],
)
def test_unresolved_addresses_and_paths_are_rejected(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} contains a reference"):
        read_settings({API_KEY: KEY, name: value})


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://u:p%20a%41@127.0.0.1/db",
        "postgresql://u:$ecret@[::1]:5432/db",
        "https://api.example/v1",
        "/srv/data (old)/50%",
        "stale-reads=5,error-500=0.1",
        KEY,
    ],
)
def test_ordinary_values_contain_no_reference(value: str) -> None:
    check_resolved("NAME", value)


@pytest.mark.parametrize("form", ['"{}"', "'{}'", "`{}`", "\u201c{}\u201d", "\"'{}'\"", ' "{}"\n'])
def test_quotes_around_any_value_are_ignored(form: str) -> None:
    settings = read_settings(
        {
            API_KEY: form.replace("{}", KEY),
            "SNAPSHOT_MCP_API_URL": form.replace("{}", "https://api.example/v1/"),
            "SNAPSHOT_MCP_TIMEOUT": form.replace("{}", "7"),
            "SNAPSHOT_MCP_READ_ONLY": form.replace("{}", "true"),
        }
    )
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == KEY
    assert (settings.api_url, settings.timeout) == ("https://api.example/v1", 7)
    assert settings.read_only is True
    level = read_log_settings({"SNAPSHOT_MCP_LOG_LEVEL": form.replace("{}", "debug")})[1]
    assert level == 10


def test_an_unresolved_log_level_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_LOG_LEVEL"):
        read_log_settings({"SNAPSHOT_MCP_LOG_LEVEL": "${env:LEVEL}"})
    assert read_log_settings({"SNAPSHOT_MCP_LOG_LEVEL": "${user_config.level}"})[0] == "text"


@pytest.mark.parametrize("value", [f'"{KEY}', f"{KEY}'", f"\u2019{KEY}"])
def test_a_single_quote_at_the_end_of_a_key_is_rejected(value: str) -> None:
    with pytest.raises(ConfigurationError, match="quotation mark") as caught:
        read_settings({API_KEY: value})
    assert KEY not in str(caught.value)


@given(st.text(max_size=30))
def test_cleaning_a_value_twice_changes_nothing(text: str) -> None:
    assert clean_value(clean_value(text)) == clean_value(text)


@given(st.text("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=20))
def test_random_keys_are_accepted(key: str) -> None:
    check_secret("NAME", key)
    check_secret("NAME", f"{key[:8]}-{key[8:12]}-{key[12:]}")
