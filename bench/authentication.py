"""Cost of authentication: calls per second with and without it, in alternating rounds.

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
from bench.servers import LIST_SIZE, SNAPSHOT_MCP, Testbed, server_named, start_testbed
from bench.throughput import CLIENT_COUNTS, calls_per_second

MAX_RATIO = 1.15
"""The maximum duration of a call with authentication, relative to one without."""

_AUDIENCE = "https://snapshots.example/mcp"
_KEY_ID = "bench"
_TOKEN_TTL_SECONDS = 3_600


class Issuer(NamedTuple):
    """The URL of an issuer, and a token that it signed."""

    url: str
    token: str

    @property
    def settings(self) -> dict[str, str]:
        """The settings that make the server require such a token, without a request quota."""
        return {
            "SNAPSHOT_MCP_AUTH_ISSUER": self.url,
            "SNAPSHOT_MCP_AUTH_AUDIENCE": _AUDIENCE,
            "SNAPSHOT_MCP_AUTH_JWKS_URL": f"{self.url}/jwks",
            "SNAPSHOT_MCP_REQUESTS_PER_MINUTE": "1000000",
        }


class Rates(NamedTuple):
    """Calls per second in each round, with and without authentication."""

    authenticated: list[float]
    anonymous: list[float]

    @property
    def ratios(self) -> Spread:
        """The duration of a call with authentication, relative to one without."""
        pairs = zip(self.anonymous, self.authenticated, strict=True)
        return spread([anonymous / authenticated for anonymous, authenticated in pairs])


def measure_authentication(testbed: Testbed, rounds: int, seconds: float) -> Measures:
    """Measure the ratio for each number of clients."""
    return {
        authentication_key(clients): Measure(
            f"Streamable HTTP with authentication, {clients} client{'s' * (clients > 1)}",
            "x without",
            {SNAPSHOT_MCP: rates.ratios},
        )
        for clients, rates in _measure_rates(testbed, rounds, seconds).items()
    }


def authentication_key(clients: int) -> str:
    """Return the key of the measure with this number of clients."""
    return f"auth_{clients}"


def _measure_rates(testbed: Testbed, rounds: int, seconds: float) -> dict[int, Rates]:
    server = server_named(SNAPSHOT_MCP)
    with ExitStack() as stack:
        issuer = stack.enter_context(_serve_issuer())
        authenticated_port = stack.enter_context(
            testbed.serve_http(server, LIST_SIZE, **issuer.settings)
        )
        anonymous_port = stack.enter_context(testbed.serve_http(server, LIST_SIZE))
        rates_by_clients = {clients: Rates([], []) for clients in CLIENT_COUNTS}
        for number in range(rounds):
            for clients, rates in rates_by_clients.items():
                turns = [
                    (rates.authenticated, authenticated_port, issuer.token),
                    (rates.anonymous, anonymous_port, ""),
                ]
                # The order alternates, because the speed of the machine drifts.
                for values, port, token in turns if number % 2 else turns[::-1]:
                    rate = anyio.run(calls_per_second, server, port, clients, seconds, token)
                    values.append(rate)
    return rates_by_clients


@contextmanager
def _serve_issuer() -> Generator[Issuer]:
    key = rsa.generate_private_key(65_537, 2_048)
    jwk = json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(key.public_key()))
    key_set = {"keys": [jwk | {"kid": _KEY_ID, "alg": "RS256", "use": "sig"}]}
    body = json.dumps(key_set).encode()

    class KeysHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - overridden
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), KeysHandler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        claims = {"iss": url, "aud": _AUDIENCE, "sub": "bench", "scope": "snapshots:read"}
        claims |= {"exp": int(time.time()) + _TOKEN_TTL_SECONDS}
        yield Issuer(url, jwt.encode(claims, key, "RS256", {"kid": _KEY_ID}))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> int:
    """Measure, print the ratios, and return 1 if one of them is too high."""
    parser = argparse.ArgumentParser(prog="bench.authentication", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.5)
    arguments = parser.parse_args()
    with start_testbed() as testbed:
        rates_by_clients = _measure_rates(testbed, arguments.rounds, arguments.seconds)
    for clients, rates in rates_by_clients.items():
        authenticated, anonymous = spread(rates.authenticated), spread(rates.anonymous)
        ratio = rates.ratios
        print(
            f"{clients:>2} clients: {authenticated.median:,.0f} calls/s with authentication,"
            f" {anonymous.median:,.0f} without; x {ratio.median:.3f}"
            f" ({ratio.first_quartile:.3f}..{ratio.third_quartile:.3f}), at most {MAX_RATIO}"
        )
    good = all(rates.ratios.median <= MAX_RATIO for rates in rates_by_clients.values())
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
