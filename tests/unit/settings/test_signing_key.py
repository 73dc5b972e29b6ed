"""The signing key is created once, atomically, and readable by its owner only."""

import base64
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from snapshot_mcp.core.errors import ConfigurationError, LedgerError
from snapshot_mcp.settings.environment import read_settings, read_signing_key
from snapshot_mcp.settings.signing_key import KEY_FILE, load_key
from snapshot_mcp.transports.http.settings import check_shared_key
from tests.waiting import ANSWER_TIMEOUT_SECONDS, read_line, start_process

ASK_FOR_THE_KEY = """
import sys
from pathlib import Path
from snapshot_mcp.settings.signing_key import load_key
print("ready", flush=True)
sys.stdin.readline()
print(load_key(Path(sys.argv[1])).hex())
"""


def test_a_key_is_created_at_the_first_use_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    key = load_key(folder)
    assert len(key) == 32
    assert load_key(folder) == key
    assert [file.name for file in folder.iterdir()] == [KEY_FILE]


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert load_key(tmp_path / "one") != load_key(tmp_path / "two")


def test_only_the_owner_may_read_the_key_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_key(tmp_path / "data")
    finally:
        os.umask(before)
    private = os.name == "posix"
    assert not private or (tmp_path / "data" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert not private or (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_concurrent_threads_get_the_same_key(tmp_path: Path) -> None:
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        start = threading.Barrier(4)
        keys: list[bytes] = []

        def load_together(folder: Path = folder, start: threading.Barrier = start) -> None:
            start.wait(ANSWER_TIMEOUT_SECONDS)
            keys.append(load_key(folder))  # noqa: B023 - joined before the next round

        threads = [threading.Thread(target=load_together, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ANSWER_TIMEOUT_SECONDS)
        assert len(keys) == 4
        assert set(keys) == {load_key(folder)}
        assert [file.name for file in folder.iterdir()] == [KEY_FILE]


def test_concurrent_processes_get_the_same_key(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    command = [sys.executable, "-c", ASK_FOR_THE_KEY, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with ExitStack() as stack:
        processes = [stack.enter_context(start_process(command, **pipes)) for _ in range(3)]
        for process in processes:
            assert read_line(process.stdout) == "ready\n"
        answers = [
            process.communicate("go\n", timeout=ANSWER_TIMEOUT_SECONDS)[0].strip()
            for process in processes
        ]
    assert set(answers) == {load_key(folder).hex()}


def test_the_second_process_uses_the_key_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_key = "ab" * 32
    link = os.link

    def link_after_another(source: Path, target: Path) -> None:
        target.write_text(first_key, encoding="ascii")
        target.chmod(0o600)
        link(source, target)

    monkeypatch.setattr(os, "link", link_after_another)
    assert load_key(tmp_path).hex() == first_key
    assert [file.name for file in tmp_path.iterdir()] == [KEY_FILE]


def test_a_file_system_without_hard_links_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_link(source: Path, target: Path) -> None:
        raise PermissionError(1, "no hard links here", str(source), None, str(target))

    monkeypatch.setattr(os, "link", refuse_link)
    key = load_key(tmp_path)
    assert load_key(tmp_path) == key
    assert [file.name for file in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_file_that_cannot_be_written_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_for_lack_of_space(handle: int) -> None:
        raise OSError(28, "no space left", str(handle))

    monkeypatch.setattr(os, "fsync", fail_for_lack_of_space)
    with pytest.raises(LedgerError):
        load_key(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"abcd", b"zz" * 32, b"ab" * 31, b"ab" * 33, b"\xff" * 64, b"a" * 63]
)
def test_a_broken_key_file_is_reported_without_its_content(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / KEY_FILE
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(LedgerError, match="signing key") as caught:
        load_key(tmp_path)
    assert KEY_FILE in str(caught.value)
    assert "abab" not in str(caught.value)
    assert file.read_bytes() == content


def test_an_unusable_data_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError):
        load_key(tmp_path / "file" / "data")
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(LedgerError):
        load_key(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="Windows has access lists instead")
@pytest.mark.parametrize("mode", [0o640, 0o644, 0o606, 0o620, 0o777])
def test_a_key_that_others_can_use_is_not_used(tmp_path: Path, mode: int) -> None:
    load_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(LedgerError, match=f"cannot be trusted.*mode {mode:o}.*chmod 600"):
        load_key(tmp_path)


def test_a_key_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    load_key(tmp_path / "other")
    (tmp_path / KEY_FILE).symlink_to(tmp_path / "other" / KEY_FILE)
    with pytest.raises(LedgerError, match="symbolic link"):
        load_key(tmp_path)


# A file that the settings name.


def read_from(path: Path) -> bytes | None:
    key = read_signing_key({"SNAPSHOT_MCP_SIGNING_KEY_FILE": str(path)})
    return None if key is None else key.get_secret_value()


def write_key(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_key_file_that_was_moved_from_the_data_folder_holds_the_same_key(tmp_path: Path) -> None:
    key = load_key(tmp_path)
    assert read_from((tmp_path / KEY_FILE).rename(tmp_path / "moved")) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ab" * 32, b"\xab" * 32),
        ("AB" * 32 + "\n", b"\xab" * 32),
        ("k" * 43, base64.b64decode("k" * 43 + "=")),
        (f" {'k' * 43}=\n", base64.b64decode("k" * 43 + "=")),
        ("k" * 64, base64.b64decode("k" * 64)),
        ("\ufeff" + "ab" * 32 + "\r\n", b"\xab" * 32),
    ],
)
def test_a_key_file_holds_hexadecimal_digits_or_base64url(
    tmp_path: Path, text: str, key: bytes
) -> None:
    assert read_from(write_key(tmp_path / "key", text)) == key


@pytest.mark.parametrize("text", ["", "short", "ab" * 31, "größe" * 20, "k" * 43 + "!"])
def test_a_key_file_with_something_else_is_rejected_and_not_shown(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_SIGNING_KEY_FILE") as caught:
        read_from(write_key(tmp_path / "key", text))
    assert not text or text not in str(caught.value)


def test_a_missing_key_file_is_rejected_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read.*openssl rand -hex 32"):
        read_from(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="Windows has access lists instead")
def test_a_key_file_may_be_a_secret_that_kubernetes_mounts(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    secret = write_key(tmp_path / "..data" / "key", "ab" * 32, 0o440)
    (tmp_path / "key").symlink_to("..data/key")
    assert read_from(tmp_path / "key") == b"\xab" * 32
    secret.chmod(0o444)
    with pytest.raises(ConfigurationError, match=r"mode 444.*defaultMode: 0440"):
        read_from(tmp_path / "key")


def test_two_signing_keys_are_rejected(tmp_path: Path) -> None:
    path = write_key(tmp_path / "key", "ab" * 32)
    both = {"SNAPSHOT_MCP_SIGNING_KEY": "k" * 43, "SNAPSHOT_MCP_SIGNING_KEY_FILE": str(path)}
    with pytest.raises(ConfigurationError, match="both set"):
        read_settings(both)


def test_a_service_may_keep_its_own_key_in_a_file(tmp_path: Path) -> None:
    path = write_key(tmp_path / "key", "ab" * 32)
    settings = read_settings({"SNAPSHOT_MCP_SIGNING_KEY_FILE": str(path)})
    check_shared_key(settings)
    assert settings.find_signing_key().find() == b"\xab" * 32
    with pytest.raises(ConfigurationError, match="SNAPSHOT_MCP_SIGNING_KEY_FILE"):
        check_shared_key(read_settings({"SNAPSHOT_MCP_SIGNING_KEY": "k" * 43}))
