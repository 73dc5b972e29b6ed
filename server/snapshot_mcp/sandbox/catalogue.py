"""The catalogue of the embedded cloud: regions, flavors, images and prices."""

from dataclasses import dataclass

from snapshot_mcp.sandbox.entities import Json

_BYTES_PER_GB = 1024**3
CREATED_AT = "2024-09-02T08:00:00Z"
ORGANISATION_ID = 4021
DEFAULT_CREDIT = 250.0
"""Credit of a new account in US dollars."""

SNAPSHOT_PRICE_PER_GB_HOUR = 0.0003870968 / 4
"""US dollars. Source: the vendor's billing example of a snapshot of 4 GB."""
CONTRACT_IDS = frozenset({77})


def regions() -> list[Json]:
    """Return the regions, with ids 1 to 3."""
    return [
        _region(1, "NORWAY-1", "Norway", "GREEN"),
        _region(2, "CANADA-1", "Canada", "GREEN"),
        _region(3, "US-1", "United States", "PARTIALLY_GREEN"),
    ]


def _region(number: int, name: str, country: str, green: str) -> Json:
    return {
        "id": number,
        "name": name,
        "country": country,
        "description": f"{country} 1",
        "green_status": green,
        "features": {"network_optimised": True, "green_status": green},
    }


@dataclass(frozen=True)
class FlavorSpec:
    """The properties in which flavors differ; cpu in vCPUs, ram and ephemeral in GB."""

    id: int
    cpu: int
    ram: float
    ephemeral: int = 0
    gpu: str = ""
    gpu_count: int = 0
    no_snapshot: bool = False


FLAVORS = {
    "n3-A100x1": FlavorSpec(101, 28, 120, 750, "A100-80G-PCIe", 1),
    "n3-RTX-A6000x1": FlavorSpec(102, 28, 58, 725, "RTX-A6000", 1),
    "n3-H100x8": FlavorSpec(103, 252, 1440, 6500, "H100-80G-PCIe", 8, no_snapshot=True),
    "n1-cpu-small": FlavorSpec(104, 4, 4),
    "n1-cpu-medium": FlavorSpec(105, 8, 8),
}


def flavor(name: str, region: str) -> Json:
    """Return a flavor in the API's format; every flavor has a root disk of 100 GB."""
    spec = FLAVORS[name]
    return {
        "id": spec.id,
        "name": name,
        "display_name": name,
        "region_name": region,
        "cpu": spec.cpu,
        "ram": spec.ram,
        "disk": 100,
        "ephemeral": spec.ephemeral,
        "gpu": spec.gpu,
        "gpu_count": spec.gpu_count,
        "created_at": CREATED_AT,
        "labels": [{"id": 1, "label": "gpu" if spec.gpu else "cpu"}],
        "features": {
            "network_optimised": spec.gpu_count > 1,
            "no_reboot": False,
            "no_hibernation": spec.no_snapshot or not spec.gpu,
            "no_snapshot": spec.no_snapshot,
            "local_storage_only": False,
            "api_only": False,
        },
    }


def flavor_groups(region: str | None) -> list[Json]:
    """Return the flavors by region and GPU, of all regions or of one.

    Source: the vendor's OpenAPI document.
    """
    groups: list[Json] = []
    for entry in regions():
        if region in (None, entry["name"]):
            for gpu in dict.fromkeys(spec.gpu for spec in FLAVORS.values()):
                members = [name for name, spec in FLAVORS.items() if spec.gpu == gpu]
                flavors = [_listed_flavor(name, entry["name"]) for name in members]
                groups.append({"gpu": gpu, "region_name": entry["name"], "flavors": flavors})
    return groups


def _listed_flavor(name: str, region: str) -> Json:
    spec = FLAVORS[name]
    available = _AVAILABLE_GPUS[region].get(spec.gpu, 0)
    is_available = not spec.gpu or available >= spec.gpu_count
    return flavor(name, region) | {"stock_available": is_available}


def permissions() -> list[Json]:
    """Return the permissions of the user; the account's key may do everything.

    Source: the vendor's OpenAPI document for the format.
    """
    resources = ("virtual-machine", "snapshot", "image", "environment", "region", "flavor")
    allowed = [(resource, verb) for resource in resources for verb in ("read", "write", "delete")]
    allowed += [("billing", "read"), ("pricebook", "read"), ("stock", "read")]
    return [
        {"id": number, "resource": resource, "permission": verb}
        for number, (resource, verb) in enumerate(allowed, start=1)
    ]


def public_images() -> list[Json]:
    """Return the public images of every region: one plain, and one with GPU drivers."""
    return [
        public_image(region["id"], region["name"], with_cuda=with_cuda)
        for region in regions()
        for with_cuda in (False, True)
    ]


def public_image(region_id: int, region: str, *, with_cuda: bool) -> Json:
    """Return a public image in the API's format; its size is in bytes."""
    version = "Server 22.04 LTS R570 CUDA 12.8" if with_cuda else "Server 24.04 LTS"
    gigabytes = 9 if with_cuda else 3
    return {
        "id": 300 + 2 * region_id + with_cuda,
        "name": f"Ubuntu {version}",
        "region_name": region,
        "type": "Ubuntu",
        "version": version,
        "size": gigabytes * _BYTES_PER_GB,
        "display_size": f"{gigabytes} GB",
        "description": "",
        "snapshot": None,
        "is_public": True,
        "created_at": CREATED_AT,
        "labels": [],
    }


def prices() -> list[Json]:
    """Return prices in US dollars per hour, as text with nine decimals.

    Source: the vendor's recorded replies for the format and for RTX-A4000. The price of a GB of
    Cloud-SSD is inferred from the vendor's billing examples. The others are invented, in the same
    range.
    """
    dollars = {
        "vCPU": "0.005000000",
        "RAM": "0.001000000",
        "RTX-A4000": "0.150000000",
        "RTX-A6000": "0.500000000",
        "A100-80G-PCIe": "1.350000000",
        "H100-80G-PCIe": "1.900000000",
        "Cloud-SSD": "0.000096774",
        "Public-IP": "0.006720000",
    }
    return [
        {"id": number, "name": name, "value": value}
        for number, (name, value) in enumerate(dollars.items(), start=1)
    ]


_AVAILABLE_GPUS = {
    "NORWAY-1": {"A100-80G-PCIe": 12, "RTX-A6000": 0},
    "CANADA-1": {"A100-80G-PCIe": 3, "RTX-A6000": 41},
    "US-1": {"RTX-A6000": 26, "H100-80G-PCIe": 8},
}


def stocks() -> list[Json]:
    """Return the available GPUs by region and model; `available` is text, such as "12".

    Source: the vendor's OpenAPI document.
    """
    return [
        {
            "region": region,
            "stock-type": "GPU",
            "models": [_stock(model, count) for model, count in models.items()],
        }
        for region, models in _AVAILABLE_GPUS.items()
    ]


def _stock(model: str, count: int) -> Json:
    return {
        "model": model,
        "available": str(count),
        "planned_7_days": None,
        "planned_30_days": None,
        "planned_100_days": None,
        "configurations": {f"{size}x": count // size for size in (1, 2, 4, 8, 10)},
    }


def contracts(year: int) -> list[Json]:
    """Return the contracts of a year, in the API's format."""
    return [
        {
            "id": contract_id,
            "org_id": ORGANISATION_ID,
            "description": "A100 reservation",
            "start_date": f"{year}-01-01T00:00:00Z",
            "end_date": f"{year + 1}-01-01T00:00:00Z",
            "expiration_policy": 1,
            "status": "active",
            "created_at": f"{year}-01-01T00:00:00Z",
            "discounts": [
                {
                    "id": 9,
                    "resource_id": 6,
                    "resource_name": "A100-80G-PCIe",
                    "resource_count": 8,
                    "discount_type": "percent",
                    "discount_code": None,
                    "discount_percent": 20.0,
                    "discount_amount": None,
                    "discount_status": "active",
                    "remaining_count": 8,
                }
            ],
        }
        for contract_id in sorted(CONTRACT_IDS)
    ]
