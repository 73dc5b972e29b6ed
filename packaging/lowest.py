"""Print the pins of the development tools, for an environment with the lowest dependencies."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def normalized_name(requirement: str) -> str:
    """Return the name of a requirement as packages are compared."""
    (name,) = re.findall(r"^[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()


def development_pins(project: str, constraints: str) -> list[str]:
    """Return the lines of `constraints` that pin a development tool of `project`.

    Args:
        project: content of pyproject.toml.
        constraints: content of constraints.txt.
    """
    tables = tomllib.loads(project)
    tools = {normalized_name(line) for line in tables["dependency-groups"]["dev"]}
    lines = [line for line in constraints.splitlines() if line and not line.startswith("#")]
    return [line for line in lines if normalized_name(line) in tools]


if __name__ == "__main__":
    files = ((ROOT / name).read_text("utf-8") for name in ("pyproject.toml", "constraints.txt"))
    print("\n".join(development_pins(*files)))
