"""Standard streams that are closed, or that cannot be written."""

import errno
import io
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from snapshot_mcp.cli import exit_codes, main
from snapshot_mcp.cli.streams import OutputError, StandardStreams, standard_streams
from tests.processes.helpers import environment

FULL = Path("/dev/full")


@pytest.fixture
def closed_pipe() -> Generator[io.TextIOWrapper]:
    """The writing end of a pipe that nothing reads."""
    reader, writer = os.pipe()
    os.close(reader)
    file = io.FileIO(writer, "wb", closefd=False)
    yield io.TextIOWrapper(io.BufferedWriter(file), encoding="ascii", line_buffering=False)
    os.close(writer)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", environment(tmp_path))


COMMANDS = [
    ["completion", "bash"],
    ["--help"],
    ["--version"],
    ["ledger", "verify"],
    ["doctor"],
    ["call", "list_snapshots"],
    ["call", "list_snapshots", "--json"],
    ["sandbox", "--port", "0"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_closed_pipe_ends_a_command_silently(
    words: list[str],
    closed_pipe: io.TextIOWrapper,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdout", closed_pipe)
    assert main.main(words) == exit_codes.CLOSED_PIPE
    assert "Traceback" not in capsys.readouterr().err
    assert sys.stdout is closed_pipe


def test_a_closed_pipe_ends_the_demo_and_its_server(
    closed_pipe: io.TextIOWrapper,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def print_in_task(*, retention: bool) -> bool:
        try:
            sys.stdout.write(f"a step {retention}\n")
            sys.stdout.flush()
        except OutputError as error:
            raise ExceptionGroup("tasks", [error]) from error
        return True

    monkeypatch.setattr("snapshot_mcp.cli.demo.run_demo", print_in_task)
    monkeypatch.setattr(sys, "stdout", closed_pipe)
    assert main.main(["demo"]) == exit_codes.CLOSED_PIPE
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")
@pytest.mark.parametrize("words", COMMANDS[:5], ids=" ".join)
def test_a_full_disk_ends_a_command_with_one_line(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main.main(words) == exit_codes.FAILED
        monkeypatch.undo()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"snapshot-mcp: the output cannot be written: {os.strerror(errno.ENOSPC)}."


def test_an_error_of_another_kind_is_not_taken_for_a_closed_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("snapshot_mcp.cli.completion.run_completion", fail)
    with pytest.raises(BrokenPipeError):
        main.main(["completion", "bash"])


def test_diagnostics_that_cannot_be_written_are_dropped(
    closed_pipe: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", closed_pipe)
    monkeypatch.setenv("SNAPSHOT_MCP_TIMEOUT", "abc")
    assert main.main([]) == exit_codes.BAD_SETTINGS


def test_output_that_an_encoding_lacks_is_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "out"
    with file.open("w", encoding="ascii") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with standard_streams():
            sys.stdout.write("Über\n")
            sys.stdout.flush()
    assert file.read_text() == "\\xdcber\n"


def test_unbuffered_output_stays_unbuffered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "out"
    with io.TextIOWrapper(io.FileIO(file, "wb"), "utf-8", write_through=True) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with standard_streams():
            sys.stdout.write("now\n")
        assert file.read_text() == "now\n"


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_closed_stream_is_replaced_by_the_null_device(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, name, None)
    with standard_streams() as found:
        assert found.closed == {name}
        stream = getattr(sys, name)
        assert stream.read() == "" if name == "stdin" else stream.write("text") == 4
    assert getattr(sys, name) is None
    assert stream.closed


def test_a_closed_descriptor_is_not_left_to_the_next_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = os.fstat
    opened: list[str] = []

    def find_all_but_stdout(descriptor: int) -> os.stat_result:
        if descriptor == 1:
            raise OSError(errno.EBADF, "closed")
        return find(descriptor)

    def record(path: str, _flags: int) -> int:
        opened.append(path)
        return 1

    monkeypatch.setattr(os, "fstat", find_all_but_stdout)
    monkeypatch.setattr(os, "open", record)
    with standard_streams():
        monkeypatch.undo()
    assert opened == [os.devnull]


@pytest.mark.parametrize("name", ["stdin", "stdout"])
@pytest.mark.parametrize("words", [[], ["serve"]])
def test_the_server_needs_stdin_and_stdout(
    name: str,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, name, None)
    assert main.main(words) == exit_codes.FAILED
    monkeypatch.undo()
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs both" in line


def test_a_replaced_stream_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    with standard_streams():
        assert sys.stdout is text


def test_only_some_errors_are_those_of_a_closed_pipe() -> None:
    state = StandardStreams(frozenset())
    assert not state.is_pipe_closed
    state.output_error = OSError(errno.EPIPE, "")
    assert state.is_pipe_closed
    state.output_error = OSError(errno.EIO, "")
    assert not state.is_pipe_closed
