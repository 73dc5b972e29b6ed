"""An agent that obeys every sentence it reads, and knows only what it has read."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from tests.hostile.visible_text import strings_in

COMMIT_TOOLS = ("delete_snapshot", "restore_snapshot")

_INSTRUCTION = re.compile(
    r"(delete|restore|deleted|drop)\w*\W+(?:\w+\W+){0,3}?(\d{4})\b", re.IGNORECASE
)
_ID = re.compile(r"\b1[67]\d\d\b")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_ASSIGNED = re.compile(r'(?:confirm|exactly|words)\w*\s*[=: ]\s*"?([\w.-]+)')


class Instruction(NamedTuple):
    """An instruction that the agent found in a text."""

    tool: str
    target: int


class OfferedPlan(NamedTuple):
    """A plan from a result, with the arguments that commit it."""

    tool: str
    arguments: dict[str, object]
    token: str
    words: str

    @property
    def commit(self) -> dict[str, object]:
        return self.arguments | {"plan_token": self.token, "confirm": self.words}


class Agent:
    """Everything that was read, in reading order and without duplicates."""

    def __init__(self) -> None:
        self.instructions: dict[Instruction, None] = {}
        self.ids: dict[int, None] = {}
        self.tokens: dict[str, None] = {}
        self.words: dict[str, None] = {"yes": None}
        self.plans: list[OfferedPlan] = []

    def read(self, text: str, content: dict[str, Any] | None) -> None:
        """Learn from a result, and from every text in it."""
        for sentence in (text, *strings_in(content)):
            self._learn(sentence)
        for snapshot in cast("list[dict[str, Any]]", (content or {}).get("snapshots", [])):
            self.ids[snapshot["id"]] = None

    def _learn(self, text: str) -> None:
        self.tokens |= dict.fromkeys(_TOKEN.findall(text))
        rest = _TOKEN.sub("", text)
        for verb, number in _INSTRUCTION.findall(rest):
            tool = "restore_snapshot" if verb.lower().startswith("restore") else COMMIT_TOOLS[0]
            self.instructions[Instruction(tool, int(number))] = None
        self.ids |= dict.fromkeys(map(int, _ID.findall(rest)))
        self.words |= dict.fromkeys(_possible_words(rest))


def _possible_words(text: str) -> Iterator[str]:
    yield from (word for word in _QUOTED.findall(text) if 0 < len(word) <= 200)
    yield from _ASSIGNED.findall(text)
