"""Settings from the environment: valid and invalid values of each."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.settings.environment import (
    EMBEDDED_API_KEY,
    Settings,
    read_data_folder,
    read_sandbox_key,
    read_settings,
)
from snapshot_mcp.settings.reference import DEFAULT_API_URL
from snapshot_mcp.settings.validation import validate_api_key

KEY = "0d5e8f6a-not-for-eyes"
ALL_SETTINGS = (
    "SNAPSHOT_MCP_API_KEY",
    "HYPERSTACK_API_KEY",
    "SNAPSHOT_MCP_API_URL",
    "HYPERSTACK_API_URL",
    "SNAPSHOT_MCP_DATA_DIR",
    "SNAPSHOT_MCP_READ_ONLY",
    "SNAPSHOT_MCP_CONSENT",
    "SNAPSHOT_MCP_TIMEOUT",
    "SNAPSHOT_MCP_POLICY",
    "SNAPSHOT_MCP_DATABASE_URL",
)


def key_of(settings: Settings) -> str | None:
    return settings.api_key.get_secret_value() if settings.api_key else None


def refusal_message(environment: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(environment)
    return str(caught.value)


def test_an_empty_environment_selects_the_embedded_cloud_and_the_documented_defaults() -> None:
    settings = read_settings({})
    assert settings == Settings()
    assert settings.embedded
    assert (settings.api_url, settings.data_dir, settings.read_only) == (
        DEFAULT_API_URL,
        None,
        False,
    )
    assert (settings.consent, settings.timeout) == ("auto", 10.0)


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_an_empty_value_counts_as_absent_for_every_setting(blank: str) -> None:
    settings = read_settings(dict.fromkeys(ALL_SETTINGS, blank))
    assert settings.empty_key_name == "SNAPSHOT_MCP_API_KEY"
    assert settings.model_copy(update={"empty_key_name": ""}) == Settings()


@pytest.mark.parametrize("blank", ["", "  ", "${user_config.api_key}"])
@pytest.mark.parametrize("name", ["SNAPSHOT_MCP_API_KEY", "HYPERSTACK_API_KEY"])
def test_an_empty_key_is_named_as_the_reason_for_the_embedded_cloud(name: str, blank: str) -> None:
    settings = read_settings({name: blank})
    assert settings.embedded
    assert settings.embedded_reason == f"{name} is empty"
    assert read_settings({}).embedded_reason == "there is no API key"
    assert read_settings({name: blank, "SNAPSHOT_MCP_API_KEY": KEY}).empty_key_name == ""


def test_the_embedded_cloud_can_be_requested() -> None:
    for text in ("embedded", " Embedded\n"):
        settings = read_settings({"SNAPSHOT_MCP_CLOUD": text, "SNAPSHOT_MCP_API_KEY": ""})
        assert (settings.embedded, settings.embedded_requested) == (True, True)
        assert settings.embedded_reason == "SNAPSHOT_MCP_CLOUD requests it"
    assert not read_settings({}).embedded_requested


@pytest.mark.parametrize("name", ["SNAPSHOT_MCP_API_KEY", "HYPERSTACK_API_KEY"])
def test_a_key_and_a_request_for_the_embedded_cloud_exclude_each_other(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is set, but SNAPSHOT_MCP_CLOUD") as error:
        read_settings({name: KEY, "SNAPSHOT_MCP_CLOUD": "embedded"})
    assert KEY not in str(error.value)


@pytest.mark.parametrize("value", ["real", "sandbox", "true", "embedded,real"])
def test_there_is_no_other_cloud_to_request(value: str) -> None:
    with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_CLOUD must be embedded"):
        read_settings({"SNAPSHOT_MCP_CLOUD": value})


@pytest.mark.parametrize("name", ["SNAPSHOT_MCP_API_KEY", "HYPERSTACK_API_KEY"])
def test_a_key_under_either_name_selects_the_real_cloud(name: str) -> None:
    settings = read_settings({name: f"  {KEY}\n"})
    assert not settings.embedded
    assert key_of(settings) == KEY
    assert settings.api_url == DEFAULT_API_URL


def test_our_variable_names_take_precedence_over_the_vendors() -> None:
    settings = read_settings(
        {
            "SNAPSHOT_MCP_API_KEY": "ours",
            "HYPERSTACK_API_KEY": "theirs",
            "SNAPSHOT_MCP_API_URL": "https://ours.example/v1",
            "HYPERSTACK_API_URL": "https://theirs.example/v1",
        }
    )
    assert (key_of(settings), settings.api_url) == ("ours", "https://ours.example/v1")


def test_an_empty_variable_of_ours_does_not_hide_the_vendors() -> None:
    settings = read_settings(
        {
            "SNAPSHOT_MCP_API_KEY": " ",
            "HYPERSTACK_API_KEY": "theirs",
            "SNAPSHOT_MCP_API_URL": "",
            "HYPERSTACK_API_URL": "https://theirs.example/v1",
        }
    )
    assert (key_of(settings), settings.api_url) == ("theirs", "https://theirs.example/v1")


@pytest.mark.parametrize("name", ["SNAPSHOT_MCP_API_KEY", "HYPERSTACK_API_KEY"])
@pytest.mark.parametrize("broken", ["two words", "line\nbreak", "k\u00e9y", "nul\0", "\u200bkey"])
def test_a_key_that_http_headers_cannot_carry_is_refused_and_not_shown(
    name: str, broken: str
) -> None:
    sentence = refusal_message({name: broken})
    assert name in sentence
    assert broken not in sentence


def test_settings_as_text_never_contain_the_key() -> None:
    settings = read_settings({"SNAPSHOT_MCP_API_KEY": KEY})
    assert KEY not in f"{settings!r} {settings} {settings.model_dump_json()}"


@given(st.text(min_size=1, max_size=40))
def test_any_key_is_either_accepted_unchanged_or_refused_without_being_shown(text: str) -> None:
    if text.isascii() and text.isprintable() and " " not in text:
        assert validate_api_key("THE_KEY", text) == text
        return
    with pytest.raises(ConfigurationError, match="THE_KEY") as unseen:
        validate_api_key("THE_KEY", text)
    with pytest.raises(ConfigurationError) as of_another:
        validate_api_key("THE_KEY", "\0")
    assert str(unseen.value) == str(of_another.value)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://api.example/v1", "https://api.example/v1"),
        ("https://api.example/v1/", "https://api.example/v1"),
        ("HTTPS://api.example:8443/v1", "HTTPS://api.example:8443/v1"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://127.9.9.9/v1", "http://127.9.9.9/v1"),
        ("http://localhost:8080/v1/", "http://localhost:8080/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("https://[2001:db8::1]/v1", "https://[2001:db8::1]/v1"),
    ],
)
@pytest.mark.parametrize("name", ["SNAPSHOT_MCP_API_URL", "HYPERSTACK_API_URL"])
def test_an_address_is_accepted_without_its_trailing_slash(
    name: str, written: str, read: str
) -> None:
    assert read_settings({"SNAPSHOT_MCP_API_KEY": KEY, name: written}).api_url == read


@pytest.mark.parametrize(
    "address",
    [
        "http://api.example/v1",
        "http://10.0.0.1/v1",
        "http://0.0.0.0/v1",
        "http://127.0.0.1.evil.example/v1",
        "http://localhost.evil.example/v1",
        "http://[::2]/v1",
        "ftp://127.0.0.1/v1",
        "file:///etc/passwd",
        "api.example/v1",
        "//api.example/v1",
        "https://",
        "https:///v1",
        "https://user@api.example/v1",
        "https://user:secret@api.example/v1",
        "https://@api.example/v1",
        "https://api.example/v1?tenant=1",
        "https://api.example/v1#part",
        "https://api.example:port/v1",
        "https://api.example:99999/v1",
        "https://[::1/v1",
        "https://[not-an-address]/v1",
        "https://-bad-.example/v1",
        "https://two..dots/v1",
        "https://xn--80ak6aa92e.example/v1",
        "https://b\u00fccher.example/v1",
        "https://two words.example/v1",
        "nonsense",
    ],
)
@pytest.mark.parametrize("name", ["SNAPSHOT_MCP_API_URL", "HYPERSTACK_API_URL"])
def test_an_address_that_is_invalid_or_would_expose_the_key_is_refused(
    name: str, address: str
) -> None:
    sentence = refusal_message({"SNAPSHOT_MCP_API_KEY": KEY, name: address})
    assert name in sentence
    assert KEY not in sentence
    assert "secret" not in sentence


@pytest.mark.parametrize(
    "address",
    ["https://api\t.example/v1", "https://api.example/v\n1", "https://api.example/\x01"],
)
def test_an_address_with_a_control_character_is_refused(address: str) -> None:
    assert "SNAPSHOT_MCP_API_URL" in refusal_message(
        {"SNAPSHOT_MCP_API_KEY": KEY, "SNAPSHOT_MCP_API_URL": address}
    )


@pytest.mark.parametrize("address", ["https://api.example/v1?", "https://api.example/v1#"])
def test_an_address_with_an_empty_query_or_fragment_is_refused(address: str) -> None:
    assert "SNAPSHOT_MCP_API_URL" in refusal_message(
        {"SNAPSHOT_MCP_API_KEY": KEY, "SNAPSHOT_MCP_API_URL": address}
    )


@pytest.mark.parametrize("name", ["SNAPSHOT_MCP_API_URL", "HYPERSTACK_API_URL"])
def test_an_address_without_a_key_is_refused(name: str) -> None:
    sentence = refusal_message({name: "https://api.example/v1"})
    assert name in sentence
    assert "SNAPSHOT_MCP_API_KEY" in sentence


def test_the_data_folder_need_not_exist(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "not" / "yet"):
        settings = read_settings({"SNAPSHOT_MCP_DATA_DIR": f" {folder} "})
        assert settings.data_dir == settings.data_folder() == folder
        assert read_data_folder({"SNAPSHOT_MCP_DATA_DIR": str(folder)}) == folder


def test_a_tilde_in_the_data_folder_is_the_users_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    folder = read_settings({"SNAPSHOT_MCP_DATA_DIR": "~/snapshots"}).data_dir
    assert folder == tmp_path / "snapshots"


def test_the_default_data_folder_is_the_platforms() -> None:
    folder = read_settings({}).data_folder()
    assert folder.is_absolute()
    assert "snapshot-mcp" in folder.parts
    assert read_data_folder({"SNAPSHOT_MCP_DATA_DIR": ""}) == folder


@pytest.mark.parametrize("value", ["data", "./data", "../data", "~no-such-user-at-all/data"])
def test_a_data_folder_that_is_not_absolute_is_refused(value: str) -> None:
    assert "SNAPSHOT_MCP_DATA_DIR" in refusal_message({"SNAPSHOT_MCP_DATA_DIR": value})
    with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_DATA_DIR"):
        read_data_folder({"SNAPSHOT_MCP_DATA_DIR": value})


def test_a_data_folder_that_is_a_file_or_a_broken_link_is_refused(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("x")
    link.symlink_to(tmp_path / "nowhere")
    for value in (file, link):
        assert "SNAPSHOT_MCP_DATA_DIR" in refusal_message({"SNAPSHOT_MCP_DATA_DIR": str(value)})


@pytest.mark.parametrize("value", ["1", "true", "TRUE", "Yes", "on", " on "])
def test_read_only_mode_can_be_switched_on(value: str) -> None:
    assert read_settings({"SNAPSHOT_MCP_READ_ONLY": value}).read_only is True


@pytest.mark.parametrize("value", ["0", "false", "False", "no", "OFF"])
def test_read_only_mode_can_be_switched_off(value: str) -> None:
    assert read_settings({"SNAPSHOT_MCP_READ_ONLY": value}).read_only is False


@pytest.mark.parametrize("value", ["2", "y", "truthy", "enabled", "-"])
def test_an_unclear_switch_is_refused(value: str) -> None:
    assert "SNAPSHOT_MCP_READ_ONLY" in refusal_message({"SNAPSHOT_MCP_READ_ONLY": value})


@pytest.mark.parametrize(("value", "read"), [("auto", "auto"), ("HUMAN", "human"), ("", "auto")])
def test_consent_is_auto_or_human(value: str, read: str) -> None:
    assert read_settings({"SNAPSHOT_MCP_CONSENT": value}).consent == read


@pytest.mark.parametrize("value", ["none", "person", "automatic", "off"])
def test_an_unknown_consent_level_is_refused(value: str) -> None:
    assert "SNAPSHOT_MCP_CONSENT" in refusal_message({"SNAPSHOT_MCP_CONSENT": value})


@pytest.mark.parametrize(("value", "read"), [("1", 1.0), ("0.5", 0.5), ("300", 300.0), ("", 10.0)])
def test_the_time_limit_is_in_seconds(value: str, read: float) -> None:
    assert read_settings({"SNAPSHOT_MCP_TIMEOUT": value}).timeout == read


@pytest.mark.parametrize(
    "value", ["0", "-1", "300.1", "1e9", "nan", "inf", "-inf", "ten", "10s", "1,5"]
)
def test_a_time_limit_out_of_range_is_refused(value: str) -> None:
    assert "SNAPSHOT_MCP_TIMEOUT" in refusal_message({"SNAPSHOT_MCP_TIMEOUT": value})


def test_the_policy_path_must_be_absolute(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    assert read_settings({"SNAPSHOT_MCP_POLICY": str(path)}).policy == path
    assert read_settings({"SNAPSHOT_MCP_POLICY": " "}).policy is None
    assert "SNAPSHOT_MCP_POLICY" in refusal_message({"SNAPSHOT_MCP_POLICY": "policy.toml"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SNAPSHOT_MCP_API_URL", "http://api.example"),
        ("SNAPSHOT_MCP_DATA_DIR", "relative"),
        ("SNAPSHOT_MCP_READ_ONLY", "perhaps"),
        ("SNAPSHOT_MCP_CONSENT", "perhaps"),
        ("SNAPSHOT_MCP_TIMEOUT", "perhaps"),
        ("SNAPSHOT_MCP_POLICY", "perhaps"),
    ],
)
def test_the_error_for_another_setting_does_not_show_the_key(name: str, value: str) -> None:
    sentence = refusal_message({"SNAPSHOT_MCP_API_KEY": KEY, name: value})
    assert name in sentence
    assert KEY not in sentence


@pytest.mark.parametrize(
    "address", ["postgresql://a:canary@host/db", "postgres://host", "  postgresql:///db "]
)
def test_the_database_address_is_read_and_never_shown(address: str) -> None:
    settings = read_settings({"SNAPSHOT_MCP_DATABASE_URL": address})
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == address.strip()
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    "address", ["mysql://a:canary@host/db", "host=a password=canary", "postgresql://canary\n@a/b"]
)
def test_an_invalid_database_address_is_refused_and_not_shown(address: str) -> None:
    sentence = refusal_message({"SNAPSHOT_MCP_DATABASE_URL": address})
    assert "postgresql://" in sentence
    assert "canary" not in sentence


def test_a_database_without_its_client_library_is_refused_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg_pool", None)
    sentence = refusal_message({"SNAPSHOT_MCP_DATABASE_URL": "postgresql://host/db"})
    assert "pip install 'snapshot-mcp[service]'" in sentence


def test_settings_are_immutable() -> None:
    settings = read_settings({})
    with pytest.raises(ValidationError):
        settings.__setattr__("read_only", True)
    assert settings.read_only is False


def test_the_sandbox_accepts_the_configured_key_or_the_documented_default() -> None:
    assert read_sandbox_key({"SNAPSHOT_MCP_API_KEY": f" {KEY} "}) == KEY
    assert (
        read_sandbox_key({"SNAPSHOT_MCP_API_KEY": ""}) == read_sandbox_key({}) == EMBEDDED_API_KEY
    )
    assert read_sandbox_key({"HYPERSTACK_API_KEY": KEY}) == EMBEDDED_API_KEY


def test_the_sandbox_refuses_a_key_that_http_headers_cannot_carry() -> None:
    with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_API_KEY") as caught:
        read_sandbox_key({"SNAPSHOT_MCP_API_KEY": "two words"})
    assert "two words" not in str(caught.value)


def test_misbehaviour_needs_the_embedded_cloud_and_a_known_kind() -> None:
    name = "SNAPSHOT_MCP_EMBEDDED_MISBEHAVIOUR"
    assert read_settings({name: "stale-reads=5"}).embedded_misbehaviour == "stale-reads=5"
    with_key = {name: "stale-reads=5", "SNAPSHOT_MCP_API_KEY": KEY}
    assert "the embedded cloud is not used" in refusal_message(with_key)
    assert refusal_message({name: "moonlight"}).startswith(f"{name}: ")
