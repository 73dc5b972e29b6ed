"""What Hypothesis draws: the faults that the requests of a call will meet."""

from typing import NamedTuple

import httpx
from hypothesis import strategies as st

from tests.faults.faults import (
    CutOff,
    Delay,
    Fault,
    Jump,
    OtherBody,
    OtherType,
    Refused,
    Reset,
    Status,
    TimeOut,
    Twice,
)
from tests.faults.transport import Plan

CLEAR = Fault()

_HARMLESS = [
    Delay(0.5),
    Delay(4),
    OtherType(),
    Jump(1),
    Jump(-1),
]
_NOT_SENT = [Refused(), Refused(httpx.ConnectTimeout), Refused(httpx.PoolTimeout)]
_BUSY = [
    Status(429),
    Status(429, retry_after="2"),
    Status(429, retry_after="+3"),
    Status(429, retry_after="86400"),
    Status(429, retry_after="+86400"),
    Status(429, retry_after="-1"),
    Status(429, retry_after="99999999999999999999999"),
    Status(429, retry_after="Wed, 21 Oct 1815 07:28:00 GMT"),
    Status(429, retry_after="soon"),
]
_LOST = [
    Reset("never"),
    Reset("never", error=httpx.WriteError),
    Reset("never", error=httpx.RemoteProtocolError),
    TimeOut("never"),
    *(Status(status) for status in (408, 500, 502, 503, 504)),
]
_GARBLED = [
    CutOff(),
    CutOff(torn=False),
    OtherBody(status=200),
    OtherBody(b"", "application/json"),
    OtherBody(b"\xff\xfe{", "application/json"),
]
_AFTER_THE_EFFECT = [
    Reset("before"),
    Reset("before", error=httpx.RemoteProtocolError),
    Reset("late", 0.2),
    Reset("late", 3),
    Reset("late", 10),
    TimeOut("before"),
    TimeOut("late", 1),
    TimeOut("late", 30),
    TimeOut("late", 300),
    *(Status(status, "before") for status in (408, 500, 502, 503, 504)),
    *(Status(status, "late", 10) for status in (500, 502, 503, 504)),
]
READING = [*[CLEAR] * 14, *_HARMLESS, *_NOT_SENT, *_BUSY, *_LOST, *_GARBLED]
WRITING = [
    *[CLEAR] * 20,
    *_HARMLESS,
    *_NOT_SENT,
    *_BUSY,
    *_LOST,
    *_GARBLED,
    *_AFTER_THE_EFFECT,
    *[Twice()] * 2,
]
_STORM = [*_NOT_SENT, *_BUSY, *_LOST, *_GARBLED]


class Weather(NamedTuple):
    """The faults of one call; see `Plan`."""

    reads: tuple[Fault, ...] = ()
    writes: tuple[Fault, ...] = ()
    looks: tuple[Fault, ...] = ()

    @property
    def plan(self) -> Plan:
        return Plan(list(self.reads), list(self.writes), list(self.looks))


def _storm(fault: Fault, length: int) -> tuple[Fault, ...]:
    return (fault,) * length


def _some(faults: list[Fault], most: int) -> st.SearchStrategy[tuple[Fault, ...]]:
    return st.lists(st.sampled_from(faults), max_size=most).map(tuple)


def _mostly_clear(faults: list[Fault], most: int) -> st.SearchStrategy[tuple[Fault, ...]]:
    return st.sampled_from([0, 0, most]).flatmap(lambda number: _some(faults, number))


_STORMS = st.builds(_storm, st.sampled_from(_STORM), st.sampled_from([2, 5, 30]))
_SELDOM = st.sampled_from([False] * 9 + [True])

WEATHERS = st.builds(
    Weather,
    _SELDOM.flatmap(lambda storm: _STORMS if storm else _mostly_clear(READING, 3)),
    _SELDOM.flatmap(lambda storm: _STORMS if storm else _some(WRITING, 2)),
    _SELDOM.flatmap(lambda storm: _STORMS if storm else _mostly_clear(READING, 4)),
)
