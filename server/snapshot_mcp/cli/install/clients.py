"""The MCP clients that we can be added to: where each keeps its configuration, and in which form.

Source: the clients' own documentation of their configuration files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

Base = Literal["home", "applications", "claude_code"]
"""The person's home, the desktop applications' settings, the folder of Claude Code's own file."""


class Machine(NamedTuple):
    """Whose configuration it is.

    Attributes:
        platform: as `sys.platform` tells it.
        home: the person's home folder.
        folder: the folder of the project that they are in.
        environment: names and values, as `os.environ` has them.
    """

    platform: str
    home: Path
    folder: Path
    environment: Mapping[str, str]

    def base(self, name: Base) -> Path:
        """The folder of that name."""
        match name, self.platform:
            case "home", _:
                return self.home
            case "claude_code", _:
                return self._named("CLAUDE_CONFIG_DIR", self.home)
            case _, "darwin":
                return self.home / "Library" / "Application Support"
            case _, "win32":
                return self._named("APPDATA", self.home / "AppData" / "Roaming")
            case _:
                return self._named("XDG_CONFIG_HOME", self.home / ".config")

    def _named(self, variable: str, default: Path) -> Path:
        value = self.environment.get(variable, "")
        return Path(value) if value else default


class Client(NamedTuple):
    """One client.

    Attributes:
        title: its name, for people.
        section: the key in its file under which the servers stand.
        base: the folder below which the person's file is.
        file: the person's file below it.
        project_file: the file of a project, below its folder; None where there is none.
        typed: whether an entry says that it is `stdio`.
        reference: how an entry refers to a variable of the client's environment, with `{}` for the
            name; None where it cannot.
    """

    title: str
    section: str
    base: Base
    file: str
    project_file: str | None
    typed: bool
    reference: str | None

    def yours(self, machine: Machine) -> Path:
        """The person's file."""
        return machine.base(self.base) / self.file

    def project(self, machine: Machine) -> Path | None:
        """The file of the project that the person is in; None where the client has none."""
        return machine.folder / self.project_file if self.project_file else None


CLIENTS: Mapping[str, Client] = {
    "claude-desktop": Client(
        "Claude Desktop",
        section="mcpServers",
        base="applications",
        file="Claude/claude_desktop_config.json",
        project_file=None,
        typed=False,
        reference=None,
    ),
    "claude-code": Client(
        "Claude Code",
        section="mcpServers",
        base="claude_code",
        file=".claude.json",
        project_file=".mcp.json",
        typed=True,
        reference="${{{}}}",
    ),
    "cursor": Client(
        "Cursor",
        section="mcpServers",
        base="home",
        file=".cursor/mcp.json",
        project_file=".cursor/mcp.json",
        typed=False,
        reference="${{env:{}}}",
    ),
    "vscode": Client(
        "VS Code",
        section="servers",
        base="applications",
        file="Code/User/mcp.json",
        project_file=".vscode/mcp.json",
        typed=True,
        reference="${{env:{}}}",
    ),
}
