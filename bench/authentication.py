"""What it costs to ask who calls: calls a second with authentication and without, in turn.

Usage: `python -m bench.authentication [--rounds N] [--seconds S]`, or as a part of `make bench`.
"""

import argparse
import json
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

import anyio
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.measurements import Measure, Measures, Spread, spread
from bench.servers import LIST_ROWS, OURS, World, server_named, world
from bench.throughput import CLIENTS, rate

LIMIT = 1.15
"""The most that a call with authentication may take, times one without."""

_AUDIENCE = "https://snapshots.example/mcp"
_KID = "bench"
_LIFETIME_SECONDS = 3_600


class Issuer(NamedTuple):
    """Where the keys are, and a token that is signed with one of them."""

    url: str
    token: str

    @property
    def settings(self) -> dict[str, str]:
        """What makes our server ask for such a token, and never for too many calls."""
        return {
            "SNAPSHOT_MCP_AUTH_ISSUER": self.url,
            "SNAPSHOT_MCP_AUTH_AUDIENCE": _AUDIENCE,
            "SNAPSHOT_MCP_AUTH_JWKS_URL": f"{self.url}/jwks",
            "SNAPSHOT_MCP_REQUESTS_PER_MINUTE": "1000000",
        }


class Rates(NamedTuple):
    """Calls a second of each round."""

    known: list[float]
    unknown: list[float]

    @property
    def ratios(self) -> Spread:
        """The time of a call with authentication, times one without, of each round."""
        pairs = zip(self.unknown, self.known, strict=True)
        return spread([without / with_it for without, with_it in pairs])


def measure_authentication(world: World, rounds: int, seconds: float) -> Measures:
    """The ratio of both, for each number of clients."""
    return {
        auth_key(clients): Measure(
            f"Streamable HTTP with authentication, {clients} client{'s' * (clients > 1)}",
            "x without",
            {OURS: rates.ratios},
        )
        for clients, rates in _measured(world, rounds, seconds).items()
    }


def auth_key(clients: int) -> str:
    """The key of the measure with so many clients."""
    return f"auth_{clients}"


def _measured(world: World, rounds: int, seconds: float) -> dict[int, Rates]:
    server = server_named(OURS)
    with ExitStack() as stack:
        issuer = stack.enter_context(_issuer())
        known = stack.enter_context(world.over_http(server, LIST_ROWS, **issuer.settings))
        unknown = stack.enter_context(world.over_http(server, LIST_ROWS))
        measured = {clients: Rates([], []) for clients in CLIENTS}
        for number in range(rounds):
            for clients, rates in measured.items():
                turns = [(rates.known, known, issuer.token), (rates.unknown, unknown, "")]
                # Whoever goes first in one round goes second in the next.
                for found, port, token in turns if number % 2 else turns[::-1]:
                    found.append(anyio.run(rate, server, port, clients, seconds, token))
    return measured


@contextmanager
def _issuer() -> Generator[Issuer]:
    key = rsa.generate_private_key(65_537, 2_048)
    jwk = json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(key.public_key()))
    body = json.dumps({"keys": [jwk | {"kid": _KID, "alg": "RS256", "use": "sig"}]}).encode()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the library's own
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        claims = {"iss": url, "aud": _AUDIENCE, "sub": "bench", "scope": "snapshots:read"}
        claims |= {"exp": int(time.time()) + _LIFETIME_SECONDS}
        yield Issuer(url, jwt.encode(claims, key, "RS256", {"kid": _KID}))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> int:
    """Measure and print; the exit code tells whether the limit was kept."""
    parser = argparse.ArgumentParser(prog="bench.authentication", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.5)
    arguments = parser.parse_args()
    with world() as shared:
        measured = _measured(shared, arguments.rounds, arguments.seconds)
    for clients, rates in measured.items():
        known, unknown, ratio = spread(rates.known), spread(rates.unknown), rates.ratios
        print(
            f"{clients:>2} clients: {known.median:,.0f} calls/s with authentication,"
            f" {unknown.median:,.0f} without; x {ratio.median:.3f}"
            f" ({ratio.first_quartile:.3f}..{ratio.third_quartile:.3f}), at most {LIMIT}"
        )
    return 0 if all(rates.ratios.median <= LIMIT for rates in measured.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
