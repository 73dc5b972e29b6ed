"""Supported MCP clients: the paths and formats of their configuration files.

Source: the clients' own documentation of their configuration files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

Base = Literal["home", "applications", "claude_code"]
"""The home folder, the folder of desktop applications' settings, the folder of Claude Code."""


class UserEnvironment(NamedTuple):
    """The user for whom a client is configured.

    Attributes:
        platform: a value of `sys.platform`.
        home: the user's home folder.
        project: the folder of the current project.
        variables: the environment variables.
    """

    platform: str
    home: Path
    project: Path
    variables: Mapping[str, str]

    def base_folder(self, base: Base) -> Path:
        """Return the folder that contains the user's configuration files."""
        match base, self.platform:
            case "home", _:
                return self.home
            case "claude_code", _:
                return self._folder_from("CLAUDE_CONFIG_DIR", self.home)
            case _, "darwin":
                return self.home / "Library" / "Application Support"
            case _, "win32":
                return self._folder_from("APPDATA", self.home / "AppData" / "Roaming")
            case _:
                return self._folder_from("XDG_CONFIG_HOME", self.home / ".config")

    def package_folders(self, pattern: str) -> list[Path]:
        """Return the folders in which an application from the Microsoft Store has its settings.

        Windows redirects the writes of a packaged application to its settings folder there.

        Source: https://learn.microsoft.com/windows/msix/desktop/desktop-to-uwp-behind-the-scenes

        Args:
            pattern: the name of the package, as a glob pattern; empty if there is none.
        """
        if self.platform != "win32" or not pattern:
            return []
        packages = self._folder_from("LOCALAPPDATA", self.home / "AppData" / "Local") / "Packages"
        found = [folder for folder in packages.glob(pattern) if folder.is_dir()]
        return [folder / "LocalCache" / "Roaming" for folder in sorted(found)]

    def _folder_from(self, variable: str, default: Path) -> Path:
        value = self.variables.get(variable, "")
        return Path(value) if value else default


class Client(NamedTuple):
    """One MCP client.

    Attributes:
        title: its display name.
        section: the key that holds the servers in its configuration file.
        base: the folder that contains the user's file.
        file: the user's file, relative to `base`.
        project_file: a project's file, relative to the project folder; None if not supported.
        typed: whether an entry needs `"type": "stdio"`.
        reference: the syntax of a reference to an environment variable, with `{}` for its name;
            None if not supported.
        package: pattern of the name of its package in the Microsoft Store; empty without one.
    """

    title: str
    section: str
    base: Base
    file: str
    project_file: str | None
    typed: bool
    reference: str | None
    package: str = ""

    def user_path(self, user: UserEnvironment) -> Path:
        """Return the path of the user's configuration file: the one that the client reads."""
        return self.user_paths(user)[0]

    def user_paths(self, user: UserEnvironment) -> list[Path]:
        """Return the possible paths of the user's configuration file, the preferred one first."""
        packaged = [folder / self.file for folder in user.package_folders(self.package)]
        packaged.sort(key=_modification_time, reverse=True)
        return [*packaged, user.base_folder(self.base) / self.file]

    def project_path(self, user: UserEnvironment) -> Path | None:
        """Return the path of the current project's file; None if the client has none."""
        return user.project / self.project_file if self.project_file else None


def _modification_time(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


CLIENTS: Mapping[str, Client] = {
    "claude-desktop": Client(
        "Claude Desktop",
        section="mcpServers",
        base="applications",
        file="Claude/claude_desktop_config.json",
        project_file=None,
        typed=False,
        reference=None,
        package="Claude_*",
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
