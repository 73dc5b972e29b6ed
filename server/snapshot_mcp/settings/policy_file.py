"""The policy file: parsing and validation of TOML, and the policy as clients can read it.

An invalid file stops the server from starting: running without a rule that the operator relies on
would be worse. Errors name a key or a line, never its content.
"""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, quoted, sanitize
from snapshot_mcp.core.validation import UNKNOWN_FIELD, describe_error
from snapshot_mcp.rules.policy import Policy
from snapshot_mcp.settings.text_file import read_text_file

_SETTING = "SNAPSHOT_MCP_POLICY"
_LINE_IN_ERROR = re.compile(r"\(at line (\d+), column \d+\)$")


def load_policy(path: Path, tools: Sequence[str]) -> Policy:
    """Return the policy in a file.

    Args:
        path: the file.
        tools: the names of all tools; `allow.tools` may contain no others.

    Raises:
        ConfigurationError: the file does not exist, cannot be read, or is not a valid policy.
    """
    values = _parse(read_text_file(_SETTING, path))
    try:
        policy = Policy.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _policy_error(_describe_error(first)) from None
    for position, name in enumerate(policy.allow.tools or (), start=1):
        if name not in tools:
            *most, last = map(repr, tools)
            expected = f"{', '.join(most)} or {last}"
            raise _policy_error(f'entry {position} of "allow.tools" must be one of {expected}')
    return policy


def dump_policy(policy: Policy) -> str:
    """Return the policy as JSON: the rules that are set, and the defaults of the others."""
    sections = policy.model_dump(mode="json", exclude_unset=True)
    defaults = {
        section: {rule: value for rule, value in rules.items() if rule not in set_rules}
        for section, rules in Policy().model_dump(mode="json").items()
        if (set_rules := sections.get(section, {})).keys() < rules.keys()
    }
    about = "The operator's policy. No call can override a rule; defaults restrict nothing."
    non_empty = {section: rules for section, rules in sections.items() if rules}
    return to_json({"about": about, "set": non_empty, "defaults": defaults}).decode()


def _parse(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _LINE_IN_ERROR.search(str(error))
        location = f"line {match.group(1)}" if match else "the end of the file"
        raise _policy_error(f"{location} is not TOML, or repeats a key") from None
    except (ValueError, RecursionError):
        raise _policy_error("a number is too long, or lists are nested too deeply") from None


def _describe_error(error: ErrorDetails) -> str:
    keys = (str(part) for part in error["loc"] if isinstance(part, str))
    rule = quoted(sanitize(".".join(keys), MAX_NAME_LENGTH).text)
    if error["type"] == UNKNOWN_FIELD:
        return f"there is no rule {rule}"
    entries = [f"entry {part + 1} of " for part in error["loc"] if isinstance(part, int)]
    return "".join(entries) + f"{rule} {describe_error(error)}"


def _policy_error(sentence: str) -> ConfigurationError:
    return ConfigurationError(f"{_SETTING}: {sentence}.")
