"""Routing: unknown paths, methods that are not allowed, and paths with line breaks."""

import pytest

from tests.sandbox.conftest import Cloud


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/unknown", 404, "not_found"),
        ("GET", "/core/snapshots/", 404, "not_found"),
        ("GET", "/core/snapshots/1701/unknown", 404, "not_found"),
        ("PUT", "/core/snapshots/1701", 405, "not_allowed"),
        ("POST", "/core/snapshots", 405, "not_allowed"),
        ("PUT", "/core/virtual-machines/793701", 405, "not_allowed"),
    ],
)
async def test_unknown_paths_and_methods_return_json(
    cloud: Cloud, method: str, path: str, status: int, reason: str
) -> None:
    body = await cloud.request(method, path, status)
    assert (body["status"], body["error_reason"]) == (False, reason)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/core/snapshots/1701", "DELETE, GET, HEAD"),
        ("OPTIONS", "/core/snapshots/1701", "DELETE, GET, HEAD"),
        ("GET", "/core/snapshots/1701/restore", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_method_that_is_not_allowed_returns_the_allowed_ones(
    cloud: Cloud, method: str, path: str, allowed: str
) -> None:
    response = await cloud.http.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


async def test_head_is_handled_like_get(cloud: Cloud) -> None:
    head, get = [await cloud.http.request(method, "/core/regions") for method in ("HEAD", "GET")]
    assert (head.status_code, head.headers) == (200, get.headers)


@pytest.mark.parametrize("path", ["/core/regions%0A", "/core/snapshots/1701/events%0A"])
async def test_a_path_with_a_line_break_at_its_end_is_unknown(cloud: Cloud, path: str) -> None:
    await cloud.get(path, 404)
