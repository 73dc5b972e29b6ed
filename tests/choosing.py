"""Which tests the default run makes, and which of those it measures.

What asks, lists or reports differs by the era of the client, and is tried with both. Other calls go
the same way through this server, so the default run tries each case of them with one era, another
one each; SNAPSHOT_MCP_DEEP=1 tries all cases with both.

Coverage nearly doubles the time of what it watches. It looks away from tests that do the same a
thousand times: they run no line that the others do not, and what a property test draws would make
the percentage a matter of luck.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from zlib import crc32

import pytest

ERAS = ("legacy", "2026-07-28")
_SAME_IN_BOTH_ERAS = re.compile(
    r"tests/(faults/|tools/test_(bad_input|create|images|reading|rehearsal|retention_|review))"
)
_UNMEASURED = re.compile(r"tests/(faults|hostile|restic)/")
_ERA = re.compile("|".join(map(re.escape, ERAS)))


def spared(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """The twins that differ from another test in their protocol era alone."""
    twins = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if _SAME_IN_BOTH_ERAS.match(item.nodeid):
            twins[_ERA.sub("", item.nodeid)].append(item)
    return {
        item
        for name, group in twins.items()
        for item in group
        if item is not group[crc32(name.encode()) % len(group)]
    }


def measured_here(item: pytest.Item) -> bool:
    """Whether coverage watches this test."""
    drawn = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    return not drawn and not _UNMEASURED.match(item.nodeid)
