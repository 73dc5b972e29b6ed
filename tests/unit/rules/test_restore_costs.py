"""The price of a restore, and the warnings about credit, stock and contract."""

import pytest

from snapshot_mcp.models.cloud import Flavor
from snapshot_mcp.models.costs import Contract, Credit, Discount, RestoreCosts
from snapshot_mcp.rules.restore_costs import (
    cost_warnings,
    describe_contract,
    estimate_price_per_hour,
    free_gpus,
)

PRICES = {"vCPU": 0.01, "RAM": 0.005, "A100": 1.35}


@pytest.mark.parametrize(
    ("flavor", "price"),
    [
        (None, None),
        (Flavor(), None),
        (Flavor(cpu=4), None),
        (Flavor(ram=8.0), None),
        (Flavor(cpu=4, ram=8.0), 0.08),
        (Flavor(cpu=0, ram=0.0), 0.0),
        (Flavor(cpu=4, ram=8.0, gpu="A100", gpu_count=0), 0.08),
        (Flavor(cpu=4, ram=8.0, gpu="A100"), 0.08),
        (Flavor(gpu="A100", gpu_count=8), 10.8),
        (Flavor(cpu=4, ram=8.0, gpu="H900", gpu_count=1), None),
    ],
)
def test_a_price_is_estimated_from_gpus_or_else_from_cpus_and_memory(
    flavor: Flavor | None, price: float | None
) -> None:
    assert estimate_price_per_hour(flavor, PRICES) == price


def test_without_a_price_list_there_is_no_price() -> None:
    for prices in ({}, {"vCPU": 0.01}, {"RAM": 0.005}):
        assert estimate_price_per_hour(Flavor(cpu=4, ram=8.0), prices) is None


REGION = "NORWAY-1"
FLAVOR = Flavor(name="n3-A100x2", gpu="A100", gpu_count=2)
CONTRACT = Contract(77, "A100 reservation", "active", None, (Discount("A100", 20.0, 8),))
COSTS = RestoreCosts(
    prices=PRICES,
    credit=Credit(250.0, can_create_vm=True),
    stock={(REGION, "A100"): 12},
    contract_id=77,
    contract=CONTRACT,
)


def warnings(costs: RestoreCosts) -> str:
    return " ".join(cost_warnings(FLAVOR, REGION, costs))


def test_costs_without_a_problem_have_no_warning() -> None:
    assert warnings(COSTS) == ""
    assert warnings(RestoreCosts()) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stock": {(REGION, "A100"): 1}}, "needs 2 GPUs, and 1 of that model are free"),
        ({"credit": Credit(2.7, can_create_vm=None)}, "pays for about 1 hours"),
        ({"credit": Credit(-5.0, can_create_vm=True)}, "pays for about 0 hours"),
        ({"credit": Credit(250.0, can_create_vm=False)}, "does not allow new VMs"),
        ({"contract": None, "contract_missing": True}, "no contract 77"),
        ({"contract": CONTRACT._replace(status="expired")}, "is expired, not active"),
        (
            {"contract": CONTRACT._replace(discounts=(Discount("A100", 20.0, 1),))},
            "covers 1 more of this GPU, and the VM needs 2",
        ),
    ],
)
def test_each_problem_has_a_warning(change: dict[str, object], words: str) -> None:
    assert words in warnings(COSTS._replace(**change))


def test_the_stock_is_that_of_the_gpu_in_the_region() -> None:
    assert free_gpus(FLAVOR, REGION, COSTS) == 12
    assert free_gpus(FLAVOR, "CANADA-1", COSTS) is None
    assert free_gpus(Flavor(cpu=4), REGION, COSTS) is None
    assert free_gpus(FLAVOR, None, COSTS) is None


def test_a_contract_is_described_with_its_discounts() -> None:
    assert describe_contract(COSTS) == '77 "A100 reservation", 20 % off A100'
    assert describe_contract(COSTS._replace(contract=None)) == "77, details not known"
    missing = RestoreCosts(contract_id=99, contract_missing=True)
    assert describe_contract(missing) == "99, which does not exist"
    assert describe_contract(RestoreCosts()) == "none, billed on demand"
