"""The policy file: TOML in, a checked policy out, and the policy as a client may read it.

A file that is not what it should be ends the start: to run without a rule that the operator
believes to be in force would be worse. An error names a key or a line, never what stands there.
"""

import re
import stat
import tomllib
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json

from snapshot_mcp.core.errors import ConfigurationError
from snapshot_mcp.core.sanitize import MAX_NAME_LENGTH, quoted, sanitize
from snapshot_mcp.core.validation import UNKNOWN_FIELD, describe_error
from snapshot_mcp.rules.policy import Policy

MAX_FILE_BYTES = 64 * 1024
_LINE_IN_ERROR = re.compile(r"\(at line (\d+), column \d+\)$")


def load_policy(path: Path) -> Policy:
    """The policy in the file at `path`.

    Raises:
        ConfigError: there is no such file, it cannot be read, or it is not a policy.
    """
    values = _parsed(_text(_content(path)))
    try:
        return Policy.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _mistake(_complaint(first)) from None


def dump_policy(policy: Policy) -> str:
    """The policy as JSON: the rules that were set, and the defaults of the others."""
    set_here = policy.model_dump(mode="json", exclude_unset=True)
    defaults = {
        section: {rule: value for rule, value in rules.items() if rule not in chosen}
        for section, rules in Policy().model_dump(mode="json").items()
        if (chosen := set_here.get(section, {})).keys() < rules.keys()
    }
    about = "The operator's policy. Nothing that a client sends lifts a rule; defaults add none."
    chosen = {section: rules for section, rules in set_here.items() if rules}
    return to_json({"about": about, "set": chosen, "defaults": defaults}).decode()


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise _mistake("it names something that is not a file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise _mistake("there is no such file") from None
    except (OSError, ValueError) as error:
        raise _mistake(f"the file cannot be read ({type(error).__name__})") from error
    if len(content) > MAX_FILE_BYTES:
        raise _mistake(f"the file is larger than {MAX_FILE_BYTES // 1024} KiB")
    return content


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _mistake(f"line {line} is not UTF-8 text") from None


def _parsed(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = _LINE_IN_ERROR.search(str(error))
        place = f"line {where.group(1)}" if where else "the end of the file"
        raise _mistake(f"{place} is not TOML, or repeats a key") from None
    except (ValueError, RecursionError):
        raise _mistake("a number is too long, or lists stand too deep in each other") from None


def _complaint(error: ErrorDetails) -> str:
    keys = (str(part) for part in error["loc"] if isinstance(part, str))
    rule = quoted(sanitize(".".join(keys), MAX_NAME_LENGTH).text)
    if error["type"] == UNKNOWN_FIELD:
        return f"there is no rule {rule}"
    entries = [f"entry {part + 1} of " for part in error["loc"] if isinstance(part, int)]
    return "".join(entries) + f"{rule} {describe_error(error)}"


def _mistake(sentence: str) -> ConfigurationError:
    return ConfigurationError(f"SNAPSHOT_MCP_POLICY: {sentence}.")
