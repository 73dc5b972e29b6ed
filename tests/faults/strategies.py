"""Hypothesis strategies for the faults of the requests of one call."""

from typing import NamedTuple

import httpx
from hypothesis import strategies as st

from tests.faults.faults import (
    BusyWhileOthersChange,
    ClockJump,
    ConnectionRefused,
    ConnectionReset,
    Delay,
    ErrorStatus,
    Fault,
    NoAnswer,
    OthersAction,
    OthersChange,
    SentTwice,
    TruncatedBody,
    WrongBody,
    WrongContentType,
)
from tests.faults.transport import FaultPlan

NO_FAULT = Fault()

_HARMLESS = [
    Delay(0.5),
    Delay(4),
    WrongContentType(),
    ClockJump(1),
    ClockJump(-1),
]
_NOT_SENT = [
    ConnectionRefused(),
    ConnectionRefused(httpx.ConnectTimeout),
    ConnectionRefused(httpx.PoolTimeout),
]
_BUSY = [
    ErrorStatus(429),
    ErrorStatus(429, retry_after="2"),
    ErrorStatus(429, retry_after="+3"),
    ErrorStatus(429, retry_after="86400"),
    ErrorStatus(429, retry_after="+86400"),
    ErrorStatus(429, retry_after="-1"),
    ErrorStatus(429, retry_after="99999999999999999999999"),
    ErrorStatus(429, retry_after="Wed, 21 Oct 1815 07:28:00 GMT"),
    ErrorStatus(429, retry_after="soon"),
]
_LOST = [
    ConnectionReset("never"),
    ConnectionReset("never", error=httpx.WriteError),
    ConnectionReset("never", error=httpx.RemoteProtocolError),
    NoAnswer("never"),
    *(ErrorStatus(status) for status in (408, 500, 502, 503, 504)),
]
_GARBLED = [
    TruncatedBody(),
    TruncatedBody(torn=False),
    WrongBody(status=200),
    WrongBody(b"", "application/json"),
    WrongBody(b"\xff\xfe{", "application/json"),
]
_AFTER_THE_EFFECT = [
    ConnectionReset("before"),
    ConnectionReset("before", error=httpx.RemoteProtocolError),
    ConnectionReset("late", 0.2),
    ConnectionReset("late", 3),
    ConnectionReset("late", 10),
    NoAnswer("before"),
    NoAnswer("late", 1),
    NoAnswer("late", 30),
    NoAnswer("late", 300),
    *(ErrorStatus(status, "before") for status in (408, 500, 502, 503, 504)),
    *(ErrorStatus(status, "late", 10) for status in (500, 502, 503, 504)),
]
OTHERS_ACTIONS: list[OthersAction] = [
    "delete a sibling",
    "delete the target",
    "protect the target",
    "take the name",
]
_OTHERS = [OthersChange(action) for action in OTHERS_ACTIONS]
_BUSY_WHILE_OTHERS_CHANGE = [
    BusyWhileOthersChange(action, retry_after)
    for action in OTHERS_ACTIONS
    for retry_after in ("", "2")
]
LOOKUP_FAULTS = [*[NO_FAULT] * 14, *_HARMLESS, *_NOT_SENT, *_BUSY, *_LOST, *_GARBLED]
READ_FAULTS = [*LOOKUP_FAULTS, *_OTHERS]
WRITE_FAULTS = [
    *[NO_FAULT] * 20,
    *_HARMLESS,
    *_NOT_SENT,
    *_BUSY,
    *_LOST,
    *_GARBLED,
    *_AFTER_THE_EFFECT,
    *[SentTwice()] * 2,
    *_OTHERS,
    *_BUSY_WHILE_OTHERS_CHANGE,
]
_OUTAGE_FAULTS = [*_NOT_SENT, *_BUSY, *_LOST, *_GARBLED]


class CallFaults(NamedTuple):
    """The faults of one call, as in `FaultPlan`."""

    reads: tuple[Fault, ...] = ()
    writes: tuple[Fault, ...] = ()
    lookups: tuple[Fault, ...] = ()

    @property
    def plan(self) -> FaultPlan:
        return FaultPlan(list(self.reads), list(self.writes), list(self.lookups))


def _repeat(fault: Fault, length: int) -> tuple[Fault, ...]:
    return (fault,) * length


def _lists_of(faults: list[Fault], most: int) -> st.SearchStrategy[tuple[Fault, ...]]:
    return st.lists(st.sampled_from(faults), max_size=most).map(tuple)


def _mostly_empty_lists_of(faults: list[Fault], most: int) -> st.SearchStrategy[tuple[Fault, ...]]:
    return st.sampled_from([0, 0, most]).flatmap(lambda number: _lists_of(faults, number))


_OUTAGES = st.builds(_repeat, st.sampled_from(_OUTAGE_FAULTS), st.sampled_from([2, 5, 30]))
_SELDOM = st.sampled_from([False] * 9 + [True])

CALL_FAULTS = st.builds(
    CallFaults,
    _SELDOM.flatmap(lambda outage: _OUTAGES if outage else _mostly_empty_lists_of(READ_FAULTS, 3)),
    _SELDOM.flatmap(lambda outage: _OUTAGES if outage else _lists_of(WRITE_FAULTS, 2)),
    _SELDOM.flatmap(
        lambda outage: _OUTAGES if outage else _mostly_empty_lists_of(LOOKUP_FAULTS, 4)
    ),
)
