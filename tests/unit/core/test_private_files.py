"""Files and folders that only their owner can use, independent of the umask."""

import os
import sqlite3
import stat
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from snapshot_mcp.core.private_files import (
    ExposedFileError,
    create_private_database,
    create_private_file,
    create_private_folder,
    find_exposure,
    read_secret_file,
)
from tests.umask import use_umask

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has access lists instead")


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Generator[int]:
    """Each umask in turn."""
    with use_umask(request.param):
        yield request.param


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_a_folder_and_its_missing_parents_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "one" / "two" / "three"
    create_private_folder(folder)
    create_private_folder(folder)
    assert [mode(path) for path in (folder, *folder.parents[:2])] == [0o700] * 3


def test_an_existing_folder_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    create_private_folder(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("missing")
    for path in ("file", "file/folder", "link"):
        with pytest.raises(OSError, match=path.split("/")[0]):
            create_private_folder(tmp_path / path)


@pytest.mark.usefixtures("umask")
def test_a_database_and_the_files_beside_it_are_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "a.db"
    create_private_database(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE a (b)")
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == ["a.db", "a.db-shm", "a.db-wal"]
        assert {mode(file) for file in files} == {0o600}


def test_an_existing_database_becomes_private_and_keeps_its_locks(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as holder,
        closing(sqlite3.connect(path, timeout=0)) as other,
    ):
        holder.execute("PRAGMA journal_mode = WAL")
        holder.execute("CREATE TABLE a (b)")
        for suffix in ("", "-wal", "-shm"):
            path.with_name(f"a.db{suffix}").chmod(0o666)
        holder.execute("BEGIN EXCLUSIVE")
        create_private_database(path)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN EXCLUSIVE")
        assert {mode(file) for file in tmp_path.iterdir()} == {0o600}


def test_a_link_in_the_place_of_a_database_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").touch(0o644)
    (tmp_path / "a.db").symlink_to("mine")
    (tmp_path / "b.db").symlink_to("missing")
    create_private_database(tmp_path / "a.db")
    create_private_database(tmp_path / "b.db")
    assert mode(tmp_path / "mine") == 0o644
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("content", [b"", b"secret"])
def test_a_file_system_without_hard_links_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    def refuse_link(source: Path, target: Path) -> None:
        raise PermissionError(1, "no hard links here", str(source), None, str(target))

    monkeypatch.setattr(os, "link", refuse_link)
    create_private_file(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == content
    assert mode(tmp_path / "file") == 0o600
    assert len(list(tmp_path.iterdir())) == 1


# Secrets.


@pytest.mark.parametrize(
    ("permissions", "mounted", "reason"),
    [
        (0o600, False, ""),
        (0o400, False, ""),
        (0o640, False, "other users can read it (mode 640)"),
        (0o604, False, "other users can read it (mode 604)"),
        (0o620, False, "other users can write it (mode 620)"),
        (0o602, False, "other users can write it (mode 602)"),
        (0o610, False, "other users can read it (mode 610)"),
        (0o600, True, ""),
        (0o440, True, ""),
        (0o640, True, ""),
        (0o644, True, "other users can read it (mode 644)"),
        (0o660, True, "other users can write it (mode 660)"),
        (0o642, True, "other users can write it (mode 642)"),
        (0o777, True, "other users can write it (mode 777)"),
    ],
)
def test_a_secret_that_others_can_use_is_rejected(
    tmp_path: Path, permissions: int, reason: str, *, mounted: bool
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    path.chmod(permissions)
    if reason:
        with pytest.raises(ExposedFileError) as caught:
            read_secret_file(path, mounted=mounted)
        assert str(caught.value) == reason
    else:
        assert read_secret_file(path, mounted=mounted) == b"secret"


@pytest.mark.parametrize(
    ("owner", "mounted", "reason"),
    [
        (0, False, "it belongs to another user"),
        (0, True, ""),
        (4321, False, "it belongs to another user"),
        (4321, True, "it belongs to another user"),
        (1234, False, ""),
        (1234, True, ""),
    ],
)
def test_a_secret_of_another_user_is_rejected(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: int,
    reason: str,
    *,
    mounted: bool,
) -> None:
    (tmp_path / "secret").touch(0o600)
    fields = list((tmp_path / "secret").stat())
    fields[stat.ST_UID] = owner
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert find_exposure(os.stat_result(fields), mounted=mounted) == reason


def test_only_a_mounted_secret_may_be_a_link(tmp_path: Path) -> None:
    """Read a secret as Kubernetes mounts it: a link to a file in a folder behind a link."""
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1" / "key").write_bytes(b"secret")
    (tmp_path / "..1" / "key").chmod(0o440)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "key").symlink_to("..data/key")
    assert read_secret_file(tmp_path / "key", mounted=True) == b"secret"
    with pytest.raises(ExposedFileError, match="symbolic link"):
        read_secret_file(tmp_path / "key", mounted=False)
    (tmp_path / "..1" / "key").chmod(0o442)
    with pytest.raises(ExposedFileError, match="can write it"):
        read_secret_file(tmp_path / "key", mounted=True)


@pytest.mark.parametrize("mounted", [False, True])
def test_a_secret_is_a_regular_file(tmp_path: Path, *, mounted: bool) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ExposedFileError, match="not a regular file"):
        read_secret_file(tmp_path / "pipe", mounted=mounted)
    with pytest.raises(OSError, match="directory"):
        read_secret_file(tmp_path, mounted=mounted)
    with pytest.raises(FileNotFoundError):
        read_secret_file(tmp_path / "missing", mounted=mounted)


def test_a_link_that_appears_between_check_and_opening_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / "target").chmod(0o600)
    (tmp_path / "secret").symlink_to("target")

    def is_no_link_yet(_: Path) -> bool:
        return False

    monkeypatch.setattr(Path, "is_symlink", is_no_link_yet)
    with pytest.raises(OSError, match="secret"):
        read_secret_file(tmp_path / "secret", mounted=False)
