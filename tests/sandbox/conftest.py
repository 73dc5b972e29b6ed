# ruff: noqa: ANN401 - tests read JSON of any type
"""The embedded cloud with a real HTTP client, a real database and a manual clock."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from snapshot_mcp.sandbox.app import create_app

KEY = "a key"
TRAINING_BOX = 793701
CI_RUNNER = 793703
NOTEBOOK = 793706
H100 = 793707
HIBERNATED = 793708
GOLDEN = 1702
FAILED = 1715
NEWEST = 1730


@dataclass
class Cloud:
    """An embedded cloud, its clock and its HTTP client."""

    database: Path
    time: datetime = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    http: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        app = create_app(database=self.database, api_key=KEY, now=lambda: self.time)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://cloud/v1",
            headers={"api_key": KEY},
        )

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    async def request(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """Send a request and return the body of the response, which must have this status."""
        response = await self.http.request(method, path, **options)
        assert response.status_code == status, response.text
        return response.json()

    async def get(self, path: str, status: int = 200, query: dict[str, str] | None = None) -> Any:
        return await self.request("GET", path, status, params=query)

    async def post(self, path: str, body: object, status: int = 200) -> Any:
        return await self.request("POST", path, status, json=body)

    async def delete(self, snapshot_id: int, status: int = 200) -> Any:
        """Request the deletion of a snapshot; it is complete after `DELETION_DURATION`."""
        return await self.request("DELETE", f"/core/snapshots/{snapshot_id}", status)

    async def create(self, vm_id: int, name: str, status: int = 201) -> Any:
        return await self.post(
            f"/core/virtual-machines/{vm_id}/snapshots", {"name": name, "description": ""}, status
        )

    async def restore(self, snapshot_id: int, name: str, status: int = 200) -> Any:
        return await self.post(
            f"/core/snapshots/{snapshot_id}/restore", {"new_vm_name": name}, status
        )

    async def snapshot(self, snapshot_id: int) -> Any:
        return (await self.get(f"/core/snapshots/{snapshot_id}"))["snapshot"]

    async def vm(self, vm_id: int) -> Any:
        return (await self.get(f"/core/virtual-machines/{vm_id}"))["instance"]


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncGenerator[Cloud]:
    cloud = Cloud(tmp_path / "data" / "cloud.db")
    async with cloud.http:
        yield cloud
