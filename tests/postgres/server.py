"""A PostgreSQL server on a free port of 127.0.0.1, in a temporary folder."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import sql

from tests.waiting import ANSWER_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS

USER, PASSWORD = "team", "canary-of-the-database"


class Server(NamedTuple):
    """A running server and its process."""

    port: int
    process: subprocess.Popen[bytes]

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute_as_admin(self, statement: LiteralString, *names: str) -> None:
        """Execute a statement as administrator."""
        composed = sql.SQL(statement).format(*map(sql.Identifier, names))
        with psycopg.connect(self.url("postgres", user="admin"), autocommit=True) as connection:
            connection.execute(composed)

    def create_database(self, database: str) -> str:
        """Create an empty database and return its address."""
        self.execute_as_admin("CREATE DATABASE {} OWNER {}", database, USER)
        return self.url(database)

    def drop_connections(self, database: str) -> int:
        """Terminate every connection to a database and return their number."""
        query = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = %s AND pid <> pg_backend_pid()"""
        with psycopg.connect(self.url("postgres", user="admin"), autocommit=True) as connection:
            row = connection.execute(query, (database,)).fetchone()
        assert row is not None
        return row[0]


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; None if it is not installed."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *_search_path()]
    return next((folder for folder in reversed(found) if (folder / "initdb").exists()), None)


def _search_path() -> list[Path]:
    initdb = shutil.which("initdb")
    return [Path(initdb).resolve().parent] if initdb else []


@contextmanager
def running_server(programs_folder: Path, *options: str) -> Generator[Server]:
    """Run a server within the block."""
    home = Path(tempfile.mkdtemp(prefix="snapshot-mcp-postgres-"))
    try:
        (home / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (home, home / "password"):
                shutil.chown(path, "postgres", "postgres")
        _make_cluster(programs_folder, home)
        with _started(programs_folder, home, options) as server:
            server.execute_as_admin(f"CREATE ROLE {{}} LOGIN PASSWORD '{PASSWORD}'", USER)
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _run_as_postgres() -> list[str]:
    # The server refuses to run as root.
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _make_cluster(programs_folder: Path, home: Path) -> None:
    command = [*_run_as_postgres(), str(programs_folder / "initdb"), "--pgdata", str(home / "data")]
    command += ["--username=admin", "--auth=scram-sha-256", f"--pwfile={home / 'password'}"]
    command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    done = subprocess.run(
        command,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def _started(programs_folder: Path, home: Path, options: tuple[str, ...]) -> Generator[Server]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    command = [*_run_as_postgres(), str(programs_folder / "postgres"), "-D", str(home / "data")]
    command += ["-p", str(port), "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    command += [word for option in options for word in ("-c", option)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log)
    server = Server(port, process)
    try:
        _wait_for(server, home / "log")
        yield server
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGINT)  # fast shutdown: do not wait for clients
        try:
            process.wait(ANSWER_TIMEOUT_SECONDS)
        finally:
            process.kill()


def _wait_for(server: Server, log: Path) -> None:
    ends = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            psycopg.connect(server.url("postgres", user="admin"), connect_timeout=5).close()
        except psycopg.OperationalError:
            assert server.process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.05)
        else:
            return
