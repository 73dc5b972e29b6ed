"""The bundle's manifest and the MCP registry entry agree with the code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from snapshot_mcp import __version__
from snapshot_mcp.settings.environment import CONSENTS, read_settings
from snapshot_mcp.settings.reference import SETTINGS

ROOT = Path(__file__).parents[2]
TEXT = {"type": "string", "minLength": 1, "maxLength": 100}
REGISTRY_ENTRY = {
    # Source: the parts of the MCP registry's schema of 2025-12-11 that this entry uses.
    "type": "object",
    "required": ["$schema", "name", "title", "description", "version", "packages"],
    "additionalProperties": False,
    "properties": {
        "$schema": {
            "const": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
        },
        "name": {
            "type": "string",
            "maxLength": 200,
            "pattern": r"^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$",
        },
        "title": TEXT,
        "description": TEXT,
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "packages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["registryType", "identifier", "version", "transport"],
                "additionalProperties": False,
                "properties": {
                    "registryType": {"enum": ["pypi"]},
                    "identifier": TEXT,
                    "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
                    "runtimeHint": {"const": "uvx"},
                    "transport": {"const": {"type": "stdio"}},
                    "environmentVariables": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "description", "isRequired"],
                            "additionalProperties": False,
                            "properties": {
                                "name": {"type": "string", "pattern": "^[A-Z_]+$"},
                                "description": {"type": "string", "minLength": 1},
                                "isRequired": {"const": False},
                                "isSecret": {"type": "boolean"},
                                "format": {"enum": ["string", "boolean", "number", "filepath"]},
                                "default": {"type": "string"},
                                "choices": {"type": "array", "items": {"type": "string"}},
                            },
                        },
                    },
                },
            },
        },
    },
}


def declaration(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "packaging" / name).read_text(encoding="utf-8"))


def secrets() -> set[str]:
    return {name for setting in SETTINGS if setting.secret for name in setting.names}


def test_the_registry_entry_fits_the_schema_of_the_registry() -> None:
    validate(declaration("server.json"), REGISTRY_ENTRY)


def test_the_registry_entry_names_this_version_and_existing_settings() -> None:
    entry = declaration("server.json")
    (package,) = entry["packages"]
    assert (entry["version"], package["version"]) == (__version__, __version__)
    variables = {variable["name"]: variable for variable in package["environmentVariables"]}
    assert variables.keys() <= {name for setting in SETTINGS for name in setting.names}
    for name, variable in variables.items():
        assert variable.get("isSecret", False) is (name in secrets())
    assert variables["SNAPSHOT_MCP_CONSENT"]["choices"] == list(CONSENTS)


def test_the_readme_contains_the_name_of_the_registry_entry() -> None:
    marker = f"<!-- mcp-name: {declaration('server.json')['name']} -->"
    assert marker in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_manifest_names_this_version_and_an_existing_entry_point() -> None:
    manifest = declaration("manifest.json")
    assert manifest["version"] == __version__
    assert (ROOT / manifest["server"]["entry_point"]).is_file()
    assert manifest["server"]["type"] == "uv"


def test_the_manifest_marks_the_key_as_sensitive_and_has_only_optional_options() -> None:
    options = declaration("manifest.json")["user_config"]
    assert options.keys() == {"api_key", "read_only", "consent"}
    assert options["api_key"]["sensitive"] is True
    assert not any(option["required"] for option in options.values())
    assert options["consent"]["default"] in CONSENTS


@pytest.mark.parametrize("filled", [False, True])
def test_filled_and_empty_options_of_the_bundle_become_valid_settings(filled: bool) -> None:  # noqa: FBT001 - the two cases
    manifest = declaration("manifest.json")
    answers = {"api_key": "a-key", "read_only": "true", "consent": "human"} if filled else {}
    environment = {
        name: re.sub(
            r"\$\{user_config\.(\w+)\}", lambda match: answers.get(match[1], match[0]), value
        )
        for name, value in manifest["server"]["mcp_config"]["env"].items()
    }
    settings = read_settings(environment)
    assert settings.embedded is not filled
    assert settings.read_only is filled
    assert settings.consent == ("human" if filled else "auto")
