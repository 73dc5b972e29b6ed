# ruff: noqa: PLC0415 - the SDK takes seconds to import, so only the worker that uses it does
"""The vendor's own SDK against the embedded cloud on a real port.

Its models reject two of the real responses, so they are not requested here: a single snapshot
(labels, the vm_ objects and volume_id are not strings, and `status` is not a boolean) and the price
list (values are text).
"""

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hyperstack.api_client import ApiClient

from tests.sandbox.conftest import GOLDEN, KEY, NEWEST, NOTEBOOK
from tests.sandbox.sandbox_process import start_sandbox

pytestmark = pytest.mark.slow


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


def test_the_sdk_lists_pages(sdk: "ApiClient") -> None:
    from hyperstack.api.snapshots_api import SnapshotsApi

    page = SnapshotsApi(sdk).list_snapshots(page="1", page_size="2", search="nightly")
    assert (page.count, page.page, page.page_size) == (7, 1, 2)
    assert [snapshot.status for snapshot in page.snapshots or []] == ["SUCCESS", "SUCCESS"]


def test_the_sdk_creates(sdk: "ApiClient") -> None:
    from hyperstack.api.virtual_machine_api import VirtualMachineApi
    from hyperstack.models.create_snapshot_payload import CreateSnapshotPayload

    payload = CreateSnapshotPayload(name="by sdk", description="", labels=["sdk"])
    response = VirtualMachineApi(sdk).create_snapshot_for_vm(NOTEBOOK, payload)
    assert response.snapshot
    assert (response.snapshot.name, response.snapshot.status) == ("by sdk", "CREATING")


def test_the_sdk_restores(sdk: "ApiClient") -> None:
    from hyperstack.api.snapshots_api import SnapshotsApi
    from hyperstack.models.snapshot_restore_request import SnapshotRestoreRequest

    payload = SnapshotRestoreRequest(new_vm_name="by-sdk")
    response = SnapshotsApi(sdk).restore_snapshot(NEWEST, payload)
    assert response.message == "VM is scheduled for creation."


def test_the_sdk_creates_an_image(sdk: "ApiClient") -> None:
    from hyperstack.api.snapshots_api import SnapshotsApi
    from hyperstack.models.create_image_payload import CreateImagePayload

    payload = CreateImagePayload(name="by-sdk")
    response = SnapshotsApi(sdk).create_custom_image(NEWEST, payload)
    assert response.message == "Image added successfully."


def test_the_sdk_deletes_and_parses_the_error(sdk: "ApiClient") -> None:
    from hyperstack.api.snapshots_api import SnapshotsApi
    from hyperstack.exceptions import NotFoundException

    snapshots = SnapshotsApi(sdk)
    assert snapshots.delete_snapshot(GOLDEN).status is True
    with pytest.raises(NotFoundException) as caught:
        snapshots.delete_snapshot(GOLDEN)
    assert caught.value.data
    assert caught.value.data.error_reason == "not_found"
