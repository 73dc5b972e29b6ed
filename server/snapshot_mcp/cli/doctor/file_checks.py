"""Checks of `snapshot-mcp doctor`: who else can use the files and the signing key of the server."""

from collections.abc import Iterator
from pathlib import Path

from snapshot_mcp.cli.doctor.findings import Finding
from snapshot_mcp.core.errors import LedgerError
from snapshot_mcp.core.private_files import find_exposure
from snapshot_mcp.settings.environment import Settings
from snapshot_mcp.settings.signing_key import KEY_FILE

_MAX_FILES = 200
_MAX_NAMED = 3


def check_files(settings: Settings) -> Iterator[Finding]:
    """Check that no other user can read or write what the server keeps in the data folder."""
    folder = settings.data_folder()
    exposed = list(_find_exposed(folder))
    if exposed:
        more = f" and {len(exposed) - _MAX_NAMED} more" if len(exposed) > _MAX_NAMED else ""
        yield Finding(
            "note",
            "files",
            f"{'; '.join(exposed[:_MAX_NAMED])}{more}: the next start of the server makes its own"
            " files private",
        )
    yield _check_signing_key(settings)


def _check_signing_key(settings: Settings) -> Finding:
    if settings.signing_key_file is not None:
        if settings.signing_key_file.resolve().parent == settings.data_folder().resolve():
            return _beside_the_ledger(settings)
        return Finding("ok", "signing key", f"in {settings.signing_key_file}")
    if settings.signing_key is not None:
        return Finding("ok", "signing key", "in the environment")
    try:
        key = settings.find_signing_key().find()
    except LedgerError as error:
        return Finding("bad", "signing key", str(error))
    if key is None:
        return Finding("ok", "signing key", "none yet (created by the first plan or change)")
    return _beside_the_ledger(settings)


def _beside_the_ledger(settings: Settings) -> Finding:
    if settings.database_url is not None:
        return Finding("ok", "signing key", f"{KEY_FILE} in the data folder")
    return Finding(
        "note",
        "signing key",
        f"{KEY_FILE} is in the data folder, so anyone who can use that folder can forge the ledger:"
        " move it elsewhere and set SNAPSHOT_MCP_SIGNING_KEY_FILE to its path",
    )


def _find_exposed(folder: Path) -> Iterator[str]:
    for number, path in enumerate(sorted(folder.glob("*"))):
        if number == _MAX_FILES:
            return
        if path.name != KEY_FILE and (reason := find_exposure(path.lstat())):
            yield f"{path.name}: {reason}"
