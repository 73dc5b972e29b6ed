"""The vendor's own SDK against the embedded cloud on a real port.

Its models reject the real reply to a single read (the labels, the vm_ objects and volume_id are
no strings there, and `status` no boolean) and the price list (values are text), so those two are
not called here.
"""

from collections.abc import Generator
from pathlib import Path

import hyperstack
import pytest

from tests.sandbox.conftest import GOLDEN, KEY, NEWEST, NOTEBOOK
from tests.sandbox.test_serve import served


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Generator[hyperstack.ApiClient]:
    database: Path = tmp_path_factory.mktemp("sdk") / "cloud.db"
    with served(database) as server:
        settings = hyperstack.Configuration(host=server.url, api_key={"apiKey": KEY})
        with hyperstack.ApiClient(settings) as client:
            yield client
            client.rest_client.pool_manager.clear()


def test_the_sdk_lists_pages(sdk: hyperstack.ApiClient) -> None:
    page = hyperstack.SnapshotsApi(sdk).list_snapshots(page="1", page_size="2", search="nightly")
    assert (page.count, page.page, page.page_size) == (7, 1, 2)
    assert [it.status for it in page.snapshots or []] == ["SUCCESS", "SUCCESS"]


def test_the_sdk_creates(sdk: hyperstack.ApiClient) -> None:
    payload = hyperstack.CreateSnapshotPayload(name="by sdk", description="", labels=["sdk"])
    reply = hyperstack.VirtualMachineApi(sdk).create_snapshot_for_vm(NOTEBOOK, payload)
    assert reply.snapshot
    assert (reply.snapshot.name, reply.snapshot.status) == ("by sdk", "CREATING")


def test_the_sdk_restores(sdk: hyperstack.ApiClient) -> None:
    payload = hyperstack.SnapshotRestoreRequest(new_vm_name="by-sdk")
    reply = hyperstack.SnapshotsApi(sdk).restore_snapshot(NEWEST, payload)
    assert reply.message == "VM is scheduled for creation."


def test_the_sdk_makes_an_image(sdk: hyperstack.ApiClient) -> None:
    payload = hyperstack.CreateImagePayload(name="by-sdk")
    reply = hyperstack.SnapshotsApi(sdk).create_custom_image(NEWEST, payload)
    assert reply.message == "Image added successfully."


def test_the_sdk_deletes_and_understands_the_refusal(sdk: hyperstack.ApiClient) -> None:
    snapshots = hyperstack.SnapshotsApi(sdk)
    assert snapshots.delete_snapshot(GOLDEN).status is True
    with pytest.raises(hyperstack.exceptions.NotFoundException) as caught:
        snapshots.delete_snapshot(GOLDEN)
    assert caught.value.data.error_reason == "not_found"
