"""Servers on 127.0.0.1 that fail in a known way: certificates, proxies, silence."""

import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.waiting import ANSWER_TIMEOUT_SECONDS

Handle = Callable[[socket.socket], None]


class Certificate(NamedTuple):
    """A certificate with its key."""

    value: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.value.public_bytes(Encoding.PEM)


def issue(
    *, issuer: Certificate | None = None, host: str = "127.0.0.1", days: tuple[int, int] = (-1, 1)
) -> Certificate:
    """Return a certificate that is valid between two days from now; self-signed by default."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{'authority' if issuer is None else 'server'} {host}")
    subject = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    first, last = (datetime.now(UTC) + timedelta(days=day) for day in days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.value.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    return Certificate(builder.sign(issuer.key if issuer else key, SHA256()), key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


@contextmanager
def listening(handle: Handle) -> Generator[int]:
    """Pass each connection to `handle` in a thread, and yield the port."""
    stopped = Event()

    def serve() -> None:
        while not stopped.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(ANSWER_TIMEOUT_SECONDS)
                    handle(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield port
        finally:
            stopped.set()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                pass
            thread.join(ANSWER_TIMEOUT_SECONDS)
            assert not thread.is_alive()


def tls(certificate: Certificate, folder: Path, handle: Handle) -> Handle:
    """Return a handler that completes a TLS handshake first."""
    file = folder / "server.pem"
    key = certificate.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(key + certificate.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def handle_tls(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            handle(wrapped)

    return handle_tls


def respond(text: str) -> Handle:
    """Return a handler that reads one request and sends this text."""

    def handle(connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            part = connection.recv(4096)
            if not part:
                return
            received += part
        connection.sendall(text.encode())

    return handle


def http(status: str, body: str = "", headers: str = "") -> Handle:
    """Return a handler that answers one request with this status."""
    return respond(
        f"HTTP/1.1 {status}\r\n{headers}content-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
    )


def forward(port: int) -> Handle:
    """Return a handler of a proxy that connects every tunnel to this port of 127.0.0.1."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def handle(connection: socket.socket) -> None:
        respond("HTTP/1.1 200 OK\r\n\r\n")(connection)
        with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_SECONDS) as upstream:
            back = Thread(target=copy, args=(upstream, connection), daemon=True)
            back.start()
            copy(connection, upstream)
            back.join(ANSWER_TIMEOUT_SECONDS)

    return handle
