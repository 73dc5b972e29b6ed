"""A hook of the build of wheels and sdists: they contain only files that git tracks."""

import runpy
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_TRACKED_FILES = runpy.run_path(str(Path(__file__).with_name("tracked_files.py")))


class TrackedFilesHook(BuildHookInterface):
    """Stops a build that would package a file that git does not track, or a symbolic link."""

    def initialize(self, version: str, _build_data: dict[str, object]) -> None:
        """Check the files before they are packaged; an editable installation packages none."""
        if version != "editable":
            included = self.build_config.builder.recurse_included_files()
            paths = [Path(file.path) for file in included]
            _TRACKED_FILES["reject_strangers"](Path(self.root), paths)
