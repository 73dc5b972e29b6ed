"""`snapshot-mcp doctor` names the cause of a failed connection, its address and the next step."""

import errno
import json
import socket
import ssl
from pathlib import Path

import httpx
import pytest

from snapshot_mcp.cloud.connection_failures import (
    Cause,
    Destination,
    describe_cause,
    describe_remedy,
    find_cause,
    host_and_port,
)
from snapshot_mcp.settings.redaction import redact_address
from tests.cli.connections import Certificate, forward, http, issue, listening, respond, tls
from tests.cli.test_doctor import findings_by_name
from tests.processes.conftest import Command
from tests.processes.helpers import KEY, environment, free_port

PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
LOGIN = "user:s3cret@"
EMPTY_PAGE = '{"status": true, "snapshots": [], "count": 0}'


class Doctor:
    """Runs doctor with the settings of one test."""

    def __init__(self, command: Command, folder: Path) -> None:
        self._command = command
        self._folder = folder

    def __call__(self, name: str, **settings: str) -> tuple[str, str]:
        """Return state and text of the only finding with this name."""
        env = environment(self._folder / "data")
        for unset in (*PROXY_NAMES, *map(str.lower, PROXY_NAMES), "SSL_CERT_FILE"):
            env.pop(unset, None)
        ended = self._command("doctor", "--json", env=env | settings)
        assert ended.stderr == ""
        for secret in ("s3cret", KEY):
            assert secret not in ended.stdout
        (finding,) = findings_by_name(ended)[name]
        return finding

    def cloud(self, url: str, **settings: str) -> str:
        """Return the text of the finding on the cloud, which must be bad."""
        base = {"SNAPSHOT_MCP_API_URL": url, "SNAPSHOT_MCP_API_KEY": KEY}
        state, text = self("cloud", **(base | settings))
        assert state == "bad"
        return text


@pytest.fixture
def doctor(command: Command, tmp_path: Path) -> Doctor:
    return Doctor(command, tmp_path)


@pytest.fixture(scope="module")
def authority() -> Certificate:
    return issue(host="authority.example")


def test_a_closed_port(doctor: Doctor) -> None:
    port = free_port()
    for scheme in ("http", "https"):
        text = doctor.cloud(f"{scheme}://127.0.0.1:{port}/v1")
        assert text == (
            f"127.0.0.1:{port} refuses connections: the port is closed; check the port in"
            " SNAPSHOT_MCP_API_URL"
        )


def test_a_name_that_cannot_be_resolved(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "s3cret")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    text = doctor.cloud("https://api.example/v1")
    assert text.startswith("the name in api.example:443 cannot be resolved; check SNAPSHOT_MCP_API")


def test_a_server_that_does_not_answer_in_time(doctor: Doctor) -> None:
    def wait(connection: socket.socket) -> None:
        while connection.recv(4096):
            pass

    with listening(wait) as port:
        text = doctor.cloud(f"http://127.0.0.1:{port}/v1", SNAPSHOT_MCP_TIMEOUT="0.2")
    assert text.startswith(f"127.0.0.1:{port} accepts connections but does not answer in time")


def test_a_server_that_closes_the_connection(doctor: Doctor) -> None:
    with listening(respond("")) as port:
        text = doctor.cloud(f"http://127.0.0.1:{port}/v1")
    assert "closed the connection" in text


def test_a_port_that_speaks_another_protocol(doctor: Doctor) -> None:
    with listening(respond("220 mail.example ESMTP\r\n\r\n")) as port:
        assert "does not speak HTTP" in doctor.cloud(f"http://127.0.0.1:{port}/v1")
    with listening(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")) as port:
        assert "does not speak TLS" in doctor.cloud(f"https://127.0.0.1:{port}/v1")


@pytest.mark.parametrize(
    ("host", "days", "is_trusted", "words"),
    [
        ("127.0.0.1", (-9, -1), True, "has expired; renew it there, or correct the clock"),
        ("127.0.0.1", (1, 9), True, "is not valid yet"),
        ("other.example", (-1, 1), True, "is for another host name; check SNAPSHOT_MCP_API_URL"),
        ("127.0.0.1", (-1, 1), False, "is of an authority that is not trusted here"),
    ],
)
def test_an_invalid_certificate(
    doctor: Doctor,
    authority: Certificate,
    tmp_path: Path,
    host: str,
    days: tuple[int, int],
    words: str,
    *,
    is_trusted: bool,
) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes((authority if is_trusted else issue()).pem)
    leaf = issue(issuer=authority, host=host, days=days)
    with listening(tls(leaf, tmp_path, http("200 OK", EMPTY_PAGE))) as port:
        text = doctor.cloud(f"https://127.0.0.1:{port}/v1", SSL_CERT_FILE=str(trusted))
    assert text.startswith(f"the certificate of 127.0.0.1:{port} {words}")


def test_a_self_signed_certificate(doctor: Doctor, tmp_path: Path) -> None:
    with listening(tls(issue(), tmp_path, http("200 OK", EMPTY_PAGE))) as port:
        text = doctor.cloud(f"https://127.0.0.1:{port}/v1")
    assert text.startswith(f"the certificate of 127.0.0.1:{port} is self-signed")
    assert "SSL_CERT_FILE" in text


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("407 s3cret", "requires a login (status 407); add user and password"),
        ("403 s3cret", "does not connect to api.example:443 (status 403)"),
        ("502 s3cret", "does not connect to api.example:443 (status 502)"),
    ],
)
def test_a_proxy_that_refuses(doctor: Doctor, status: str, words: str) -> None:
    with listening(http(status, "s3cret", "proxy-authenticate: Basic\r\n")) as port:
        proxy = f"http://{LOGIN}127.0.0.1:{port}"
        text = doctor.cloud("https://api.example/v1", HTTPS_PROXY=proxy)
    assert f"the proxy 127.0.0.1:{port} {words}" in text


def test_a_proxy_that_cannot_be_reached(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    text = doctor.cloud("https://api.example/v1", ALL_PROXY=f"http://{LOGIN}127.0.0.1:{port}")
    assert text.startswith(f"the proxy 127.0.0.1:{port} refuses connections")
    assert text.endswith("check the port in HTTPS_PROXY")

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "s3cret")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    text = doctor.cloud("https://api.example/v1", HTTPS_PROXY=f"http://{LOGIN}proxy.example")
    assert text.startswith("the name in the proxy proxy.example:80 cannot be resolved")


def test_a_certificate_behind_a_proxy(doctor: Doctor, tmp_path: Path) -> None:
    with (
        listening(tls(issue(), tmp_path, http("200 OK", EMPTY_PAGE))) as port,
        listening(forward(port)) as proxy,
    ):
        text = doctor.cloud(f"https://127.0.0.2:{port}/v1", HTTPS_PROXY=f"127.0.0.1:{proxy}")
    assert text.startswith(
        f"the certificate of 127.0.0.2:{port} (through the proxy 127.0.0.1:{proxy}) is self-signed"
    )


def test_a_working_connection_is_reported_with_its_address(doctor: Doctor, tmp_path: Path) -> None:
    leaf = issue(host="127.0.0.2")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(leaf.pem)
    with (
        listening(tls(leaf, tmp_path, http("200 OK", EMPTY_PAGE))) as port,
        listening(forward(port)) as proxy,
    ):
        state, text = doctor(
            "cloud",
            SNAPSHOT_MCP_API_URL=f"https://127.0.0.2:{port}/v1",
            SNAPSHOT_MCP_API_KEY=KEY,
            SSL_CERT_FILE=str(trusted),
            HTTPS_PROXY=f"http://{LOGIN}127.0.0.1:{proxy}",
        )
    assert state == "ok"
    assert text.endswith(f", at 127.0.0.2:{port} through the proxy 127.0.0.1:{proxy}")


def test_a_rejected_key_and_a_disabled_feature(doctor: Doctor) -> None:
    body = '{"status": false, "message": "s3cret: this feature is currently disabled"}'
    with listening(http("401 Unauthorized", "{}")) as port:
        settings = {
            "SNAPSHOT_MCP_API_URL": f"http://127.0.0.1:{port}/v1",
            "SNAPSHOT_MCP_API_KEY": KEY,
        }
        state, text = doctor("key", **settings)
        assert state == "bad"
        assert text.startswith(f"127.0.0.1:{port} does not accept it; copy it again")
    for status in ("403 Forbidden", "400 Bad Request", "503 Service Unavailable"):
        with listening(http(status, body)) as port:
            text = doctor.cloud(f"http://127.0.0.1:{port}/v1")
        assert text.startswith(f"127.0.0.1:{port}: The cloud")
        if status[0] == "4":
            assert "the cloud has disabled this feature" in text


def test_a_database_that_cannot_be_reached(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    url = f"postgresql://{LOGIN}127.0.0.1:{port}/db?sslmode=disable"
    state, text = doctor("ledger", SNAPSHOT_MCP_DATABASE_URL=url)
    assert state == "bad"
    assert text == (
        f"127.0.0.1:{port} refuses connections: the port is closed; check the port in"
        " SNAPSHOT_MCP_DATABASE_URL"
    )

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "s3cret")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    url = f"postgresql://{LOGIN}db.example/db"
    state, text = doctor("ledger", SNAPSHOT_MCP_DATABASE_URL=url)
    assert text.startswith("the name in db.example:5432 cannot be resolved")


def test_the_identity_provider_is_checked(doctor: Doctor, tmp_path: Path) -> None:
    audience = {"SNAPSHOT_MCP_AUTH_AUDIENCE": "https://snapshots.example/mcp"}

    def issuer(url: str, **settings: str) -> tuple[str, str]:
        return doctor("issuer", SNAPSHOT_MCP_AUTH_ISSUER=url, **audience, **settings)

    port = free_port()
    state, text = issuer(f"http://127.0.0.1:{port}")
    assert state == "bad"
    assert text.startswith(f"127.0.0.1:{port} refuses connections")
    assert text.endswith("SNAPSHOT_MCP_AUTH_ISSUER")
    with listening(tls(issue(), tmp_path, http("200 OK"))) as port:
        state, text = issuer(f"https://127.0.0.1:{port}")
        assert (state, "is self-signed" in text) == ("bad", True)
    with listening(http("404 Not Found", "s3cret")) as port:
        state, text = issuer(f"http://127.0.0.1:{port}")
        assert state == "bad"
        assert text.startswith(f"127.0.0.1:{port}: The issuer has no metadata")
    for body, expected in [('{"keys": [{"kid": "a"}]}', "ok"), ('{"keys": []}', "bad")]:
        with listening(http("200 OK", body)) as port:
            url = f"http://127.0.0.1:{port}/keys"
            state, text = issuer("https://login.example", SNAPSHOT_MCP_AUTH_JWKS_URL=url)
        assert (state, f"127.0.0.1:{port}" in text) == (expected, True)
    with listening(http("407 s3cret")) as port:
        proxy = f"http://{LOGIN}127.0.0.1:{port}"
        state, text = issuer("https://login.example", HTTPS_PROXY=proxy)
        assert (state, text.startswith(f"the proxy 127.0.0.1:{port} requires")) == ("bad", True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SNAPSHOT_MCP_API_URL", "https://user:s3cret@api.example/v1"),
        ("SNAPSHOT_MCP_API_URL", "https://s3cret@api.example/v1"),
        ("SNAPSHOT_MCP_API_URL", "https://u:p/s3cret@api.example/v1"),
        ("SNAPSHOT_MCP_API_URL", "user:s3cret@api.example"),
        ("SNAPSHOT_MCP_API_URL", "https://api.example/v1?token=s3cret"),
        ("SNAPSHOT_MCP_API_URL", "https://api.example/v1#s3cret"),
        ("SNAPSHOT_MCP_API_URL", f"https://api.example/{KEY}?x"),
        ("SNAPSHOT_MCP_API_URL", "s3cret"),
        ("SNAPSHOT_MCP_API_URL", "https://api.example/s3cret0123456789abcdef?"),
        ("SNAPSHOT_MCP_AUTH_ISSUER", "https://user:s3cret@login.example"),
        ("SNAPSHOT_MCP_AUTH_ISSUER", "s3cret"),
        ("SNAPSHOT_MCP_AUTH_JWKS_URL", "https://login.example/keys?code=s3cret"),
        ("SNAPSHOT_MCP_ALLOWED_ORIGINS", "https://user:s3cret@app.example"),
        ("SNAPSHOT_MCP_CONSENT", KEY),
        ("SNAPSHOT_MCP_TIMEOUT", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzM2NyZXQifQ.s3cret"),
        ("SNAPSHOT_MCP_BEARER_TOKEN", "s3cret"),
        ("SNAPSHOT_MCP_DATABASE_URL", "mysql://user:s3cret@host/db"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://user:s3cret@collector.example"),
    ],
)
def test_rejected_values_are_printed_without_credentials(
    command: Command, tmp_path: Path, name: str, value: str
) -> None:
    env = environment(tmp_path, SNAPSHOT_MCP_API_KEY=KEY) | {name: value}
    for arguments in (["doctor"], ["doctor", "--json"]):
        ended = command(*arguments, env=env)
        assert ended.returncode == 2
        assert "s3cret" not in ended.stdout + ended.stderr
        assert KEY not in ended.stdout + ended.stderr
    assert json.loads(ended.stdout)["ok"] is False


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://api.example:8443/v1", "https://api.example:8443/v1"),
        ("/srv/data@home/x", "/srv/data@home/x"),
        ("C:\\data@home", "C:\\data@home"),
        ("prod-1.cluster.example.com", "prod-1.cluster.example.com"),
        ("https://hooks.example/T0/B0123456789abcdefghij", "https://hooks.example/T0/(hidden)"),
        ("stale-reads=5,error-500=0.1", "stale-reads=5,error-500=0.1"),
    ],
)
def test_what_is_not_a_credential_is_shown(address: str, shown: str) -> None:
    assert redact_address(address) == shown


def test_a_uuid_is_shown_only_where_it_is_public() -> None:
    address = "https://login.example/6e74172b-be56-4843-9ff4-e66a39bb12e3/v2.0"
    assert redact_address(address, show_uuids=True) == address
    assert "6e74172b" not in redact_address(address)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:s3cret@api.example/v1?x", "api.example:443"),
        ("proxy:3128", "proxy:3128"),
        ("socks5://proxy", "proxy:1080"),
        ("https://[::1]/v1", "[::1]:443"),
        ("https://api.example:port", "?"),
        ("", "?"),
    ],
)
def test_a_host_is_shown_with_its_port(address: str, shown: str) -> None:
    assert host_and_port(address) == shown


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        ("no_route", OSError(errno.EHOSTUNREACH, "x")),
        ("connect_timeout", OSError(errno.ETIMEDOUT, "x")),
        ("refused", ExceptionGroup("x", [OSError(errno.ECONNREFUSED, "x")])),
        ("certificate", certificate_error(7)),
        ("unknown_authority", certificate_error(19)),
        ("tls", ssl.SSLError(1, "[SSL: TLSV1_ALERT] s3cret")),
        ("connect_timeout", httpx.ConnectTimeout("x")),
        ("no_answer", httpx.ReadTimeout("x")),
        ("no_answer", TimeoutError()),
        ("broken", httpx.ReadError("x")),
        ("proxy_refused", httpx.ProxyError("s3cret")),
    ],
)
def test_a_cause_is_found_in_the_chain_of_exceptions(cause: Cause, error: Exception) -> None:
    outer = httpx.HTTPError("s3cret")
    outer.__cause__ = error
    error.__context__ = outer  # chains may contain loops
    assert find_cause(outer) == cause
    for proxy in ("", "proxy:1"):
        text = describe_remedy(outer, Destination("host:1", proxy, "SETTING"))
        assert "host:1" in text or "proxy" in text
        assert "s3cret" not in text + describe_cause(outer)


def test_an_unknown_failure_has_no_cause() -> None:
    assert find_cause(httpx.ConnectError("x")) is None
    assert describe_remedy(OSError("x"), Destination("host:1", "", "SETTING")) == ""
    assert describe_cause(OSError("x")) == ""
