"""A service with its own upstream and issuer, shared by the tests of a module."""

from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.processes.conftest import command
from tests.processes.helpers import Upstream, free_port
from tests.processes.http_server import HttpServer, http_server
from tests.service.issuer import Issuer, ec_key, rsa_key
from tests.service.raw_requests import make_http_client

__all__ = ["Service", "command", "service"]


class Service(NamedTuple):
    """A running service, what it uses, and the folder of its ledger."""

    server: HttpServer
    issuer: Issuer
    upstream: Upstream
    folder: Path
    http: httpx.Client


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, measuring: dict[str, str]
) -> Generator[Service]:
    """Start a service that accepts the tokens of an issuer."""
    port = free_port()
    folder, cloud = tmp_path_factory.mktemp("service"), tmp_path_factory.mktemp("cloud")
    issuer = Issuer(f"http://127.0.0.1:{port}/mcp", [ec_key("ec-1"), rsa_key("rsa-1")])
    # The tests of a module are one principal, and send more within a second than it may.
    settings = measuring | {"SNAPSHOT_MCP_REQUESTS_PER_MINUTE": "100000"}
    with (
        issuer.serve(),
        Upstream(cloud / "cloud.db").serve() as upstream,
        http_server(folder, port, **upstream.settings, **issuer.settings, **settings) as server,
        make_http_client(server.url) as http,
    ):
        yield Service(server, issuer, upstream, folder, http)
        http.close()
        server.terminate()
        assert not any("Traceback" in line for line in server.output)
