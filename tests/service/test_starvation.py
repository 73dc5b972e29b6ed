"""One principal uses each of six means to the full, and another one is served by the real service.

`python -m bench.principals` measures the times.
"""

from collections.abc import Generator

import pytest

from tests.service.attacks import Attacker
from tests.service.two_principals import measure_during, start_service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECONDS = 4.0
REFUSED = {
    "10,000 sessions": (200, ""),
    "300 unfinished bodies": (413, ""),
    "60,000 unknown arguments": (413, "The call has 6,000 arguments, and the limit is 100."),
    "300 open streams": (429, ""),
    "60 changes waiting": (429, "20 changes of yours are already waiting"),
    "all reads of a minute": (200, ""),
}
"""The status that the greedy principal receives, and the text of an error, during the attack."""

WAITING_READS = "all reads of a minute"
"""The reads of this attack wait for up to 65 s, so perhaps none is answered during it."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Generator[int]:
    with start_service(tmp_path_factory.mktemp("service")) as port:
        yield port


@pytest.mark.parametrize("means", REFUSED)
async def test_another_principal_is_served(port: int, means: str) -> None:
    honest, attacker = await measure_during(port, means, SECONDS)
    assert honest.refused == []
    assert honest.seconds
    status, text = REFUSED[means]
    if means != WAITING_READS:
        assert attacker.statuses[status]
    assert text in str(attacker.refusals)
    # On a busy machine, some unfinished bodies exist until their deadline (408).
    assert set(attacker.statuses) <= {200, 202, 408, 413, 429}


async def test_every_means_is_tested(port: int) -> None:
    assert Attacker(port, "").means.keys() == REFUSED.keys()
