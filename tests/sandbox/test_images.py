"""Images: filters, pages, single reads and deletion."""

from typing import Any

from tests.sandbox.conftest import GOLDEN, HIBERNATED, Cloud

GOLDEN_IMAGE = 20471


async def image_names(cloud: Cloud, **query: str) -> list[str]:
    body = await cloud.get("/core/images", query=query)
    return [image["name"] for group in body["images"] for image in group["images"]]


async def test_images_are_filtered(cloud: Cloud) -> None:
    everything = await image_names(cloud)
    assert len(everything) == 7
    assert await image_names(cloud, include_public="false") == ["golden-training-2404"]
    assert len(await image_names(cloud, region="CANADA-1")) == 2
    assert await image_names(cloud, search="GOLDEN") == ["golden-training-2404"]
    await cloud.get("/core/images", 400, {"include_public": "perhaps"})


async def test_images_have_pages(cloud: Cloud) -> None:
    pages = [await image_names(cloud, page=str(page), per_page="3") for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert sorted(name for page in pages for name in page) == sorted(await image_names(cloud))


async def test_one_image_is_read(cloud: Cloud) -> None:
    body: Any = await cloud.get(f"/core/images/{GOLDEN_IMAGE}")
    assert list(body) == ["image"]
    assert (body["image"]["name"], body["image"]["is_public"]) == ("golden-training-2404", False)
    assert "related_vms" not in body["image"]
    related = await cloud.get(f"/core/images/{GOLDEN_IMAGE}", query={"include_related_vms": "true"})
    assert related["image"]["related_vms"] == [{"id": HIBERNATED, "name": "eval-sweep"}]
    assert (await cloud.get("/core/images/302"))["image"]["is_public"] is True
    await cloud.get("/core/images/1", 404)


async def test_a_deleted_image_leaves_its_snapshot(cloud: Cloud) -> None:
    assert (await cloud.snapshot(GOLDEN))["is_image"] is True
    assert (await cloud.request("DELETE", f"/core/images/{GOLDEN_IMAGE}"))["status"] is True
    await cloud.get(f"/core/images/{GOLDEN_IMAGE}", 404)
    await cloud.request("DELETE", f"/core/images/{GOLDEN_IMAGE}", 404)
    assert (await cloud.snapshot(GOLDEN))["is_image"] is False
    events = (await cloud.get(f"/core/snapshots/{GOLDEN}/events"))["snapshot_events"]
    assert events[0]["message"] == "The image was deleted."


async def test_a_public_image_is_not_deleted(cloud: Cloud) -> None:
    await cloud.request("DELETE", "/core/images/302", 400)
    await cloud.get("/core/images/302")


async def test_image_names_are_checked_under_both_paths(cloud: Cloud) -> None:
    for path in ("/core/image/name-availability", "/core/images/name-availability"):
        taken = await cloud.get(f"{path}/golden-training-2404")
        assert (taken["available"], taken["message"]) == (False, "This name is not available")
        free = await cloud.get(f"{path}/free")
        assert (free["available"], free["message"]) == (True, "This name is available")
