"""The findings of `snapshot-mcp doctor` about who can use the files and the signing key."""

import sys
from pathlib import Path

import pytest

from snapshot_mcp.cli.doctor.file_checks import check_files
from snapshot_mcp.cli.doctor.findings import Finding
from snapshot_mcp.settings.environment import LEDGER_FILE, read_settings
from snapshot_mcp.settings.signing_key import KEY_FILE, load_key

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has access lists instead")


def find(folder: Path, **more: str) -> dict[str, Finding]:
    settings = read_settings({"SNAPSHOT_MCP_DATA_DIR": str(folder), **more})
    return {finding.name: finding for finding in check_files(settings)}


def test_nothing_is_wrong_with_a_folder_that_is_new_or_missing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        findings = find(folder)
        assert [finding.state for finding in findings.values()] == ["ok"]
        assert "none yet" in findings["signing key"].text


def test_files_that_others_can_use_are_named_with_their_modes(tmp_path: Path) -> None:
    for number, mode in enumerate((0o644, 0o666, 0o600, 0o640, 0o604)):
        (tmp_path / f"{number}.db").touch()
        (tmp_path / f"{number}.db").chmod(mode)
    finding = find(tmp_path)["files"]
    assert finding.state == "note"
    assert "0.db: other users can read it (mode 644)" in finding.text
    assert "1.db: other users can write it (mode 666)" in finding.text
    assert "and 1 more" in finding.text
    assert "2.db" not in finding.text


def test_a_long_list_of_files_is_limited(tmp_path: Path) -> None:
    for number in range(210):
        (tmp_path / f"{number:03}.db").touch(0o600)
    (tmp_path / "x.db").touch()
    (tmp_path / "x.db").chmod(0o644)
    assert "files" not in find(tmp_path)


def test_a_key_beside_the_ledger_is_noted_and_one_elsewhere_is_fine(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    load_key(folder)
    beside = find(folder)["signing key"]
    assert beside.state == "note"
    assert "SNAPSHOT_MCP_SIGNING_KEY_FILE" in beside.text
    named = find(folder, SNAPSHOT_MCP_SIGNING_KEY_FILE=str(folder / KEY_FILE))["signing key"]
    assert named == beside
    elsewhere = (folder / KEY_FILE).rename(tmp_path / "elsewhere.key")
    findings = find(folder, SNAPSHOT_MCP_SIGNING_KEY_FILE=str(elsewhere))
    assert findings["signing key"] == Finding("ok", "signing key", f"in {elsewhere}")
    findings = find(folder, SNAPSHOT_MCP_SIGNING_KEY="k" * 43)
    assert findings["signing key"] == Finding("ok", "signing key", "in the environment")


@pytest.mark.parametrize("mode", [0o640, 0o666, 0o604])
def test_a_key_that_others_can_use_is_bad(tmp_path: Path, mode: int) -> None:
    load_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    finding = find(tmp_path)["signing key"]
    assert finding.state == "bad"
    assert f"(mode {mode:o})" in finding.text


def test_with_a_shared_database_the_key_in_the_data_folder_is_not_beside_the_ledger(
    tmp_path: Path,
) -> None:
    pytest.importorskip("psycopg")
    load_key(tmp_path)
    (tmp_path / LEDGER_FILE).touch(0o600)
    url = "postgresql://user@127.0.0.1/ledger"
    finding = find(tmp_path, SNAPSHOT_MCP_DATABASE_URL=url)["signing key"]
    assert finding.state == "ok"
