"""The parts of the README that come from the code: its tables and its example conversation.

`make reference` rewrites them between their markers; tests/test_docs.py compares them with the
code.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import cast

import anyio
from mcp import Client
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitResult, TextContent
from pydantic import SecretStr

from docs.generators.reference import describe_effect, settings_table
from snapshot_mcp.cloud.connection import Connection
from snapshot_mcp.core.clock import Clock
from snapshot_mcp.mcp_server.app import connection_over, create_server, embedded_transport
from snapshot_mcp.mcp_server.tools.toolsets import TOOLS
from snapshot_mcp.settings.environment import EMBEDDED_API_KEY, Settings

README = Path(__file__).parents[2] / "README.md"
MAIN_SETTINGS = (
    "SNAPSHOT_MCP_API_KEY",
    "SNAPSHOT_MCP_READ_ONLY",
    "SNAPSHOT_MCP_CONSENT",
    "SNAPSHOT_MCP_POLICY",
    "SNAPSHOT_MCP_DATA_DIR",
)
"""The settings that the README lists; docs/reference.md lists all of them."""

_SNAPSHOT_ID = 1701
_SNAPSHOT_NAME = "trainer-2025-final"
_TOKEN_START = 12
_LABEL_WIDTH = 13
_TEXT_WIDTH = 86
_VOLATILE = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d UTC)?|\S{12}…")
"""Dates and tokens, which differ in every run."""


def main() -> int:
    """Rewrite the generated parts of the README."""
    text = anyio.run(update, README.read_text(encoding="utf-8"))
    README.write_text(text, encoding="utf-8", newline="\n")
    return 0


async def update(text: str) -> str:
    """Return `text` with its generated parts replaced by their current content.

    A part that differs only in dates and tokens stays as it is.

    Raises:
        ValueError: a part is missing.
    """
    parts = {
        "tools": tools_table(),
        "settings": main_settings_table(),
        "conversation": f"```text\n{await conversation()}```\n",
    }
    for name, current in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if start not in text or end not in text:
            raise ValueError(f"the README has no part named {name}")
        head, _, rest = text.partition(start)
        previous, _, tail = rest.partition(end)
        kept = previous if mask_volatile(previous) == mask_volatile(current) else current
        text = f"{head}{start}{kept}{end}{tail}"
    return text


def mask_volatile(text: str) -> str:
    """Return `text` without dates and tokens."""
    return " ".join(_VOLATILE.sub("*", text).split())


def tools_table() -> str:
    """Return one row per tool: its name, the first sentence of its description, and its effect."""
    rows = ["| Tool | Purpose | Changes something |", "|---|---|---|"]
    for tool in TOOLS:
        purpose = (tool.definition.description or "").partition(". ")[0].rstrip(".")
        rows.append(f"| `{tool.name}` | {purpose} | {describe_effect(tool)} |")
    return "\n".join(rows) + "\n"


def main_settings_table() -> str:
    """Return the rows of `MAIN_SETTINGS`."""
    head, line, *rows = settings_table("docs/").splitlines()
    listed = [row for row in rows if any(f"`{name}`" in row for name in MAIN_SETTINGS)]
    return "\n".join([head, line, *listed]) + "\n"


async def conversation() -> str:
    """Delete a snapshot of a new embedded cloud, and return the conversation as text.

    The lines of the server and of the client's form come from the real server.
    """
    questions: list[str] = []

    async def answer_form(context: object, params: object) -> ElicitResult:
        del context
        questions.append(cast("ElicitRequestFormParams", params).message)
        return ElicitResult(action="accept", content={"words": _SNAPSHOT_NAME})

    with tempfile.TemporaryDirectory() as folder:
        # With a key, as for a real account: the answers do not name the embedded cloud.
        key = SecretStr(EMBEDDED_API_KEY)
        settings = Settings(data_dir=Path(folder), api_key=key)
        server = create_server(settings, connect=_connect_embedded_cloud)
        async with Client(server, elicitation_callback=answer_form) as client:
            target = {"snapshot_id": _SNAPSHOT_ID}
            planned = await client.call_tool("delete_snapshot", target)
            answer = cast("dict[str, str]", planned.structured_content)
            token = answer["plan_token"]
            commit = {**target, "plan_token": token, "confirm": _SNAPSHOT_NAME}
            deleted = await client.call_tool("delete_snapshot", commit)
    short_token = f"{token[:_TOKEN_START]}…"
    call = f"delete_snapshot(snapshot_id={_SNAPSHOT_ID}"
    lines = [
        *_spoken("You", "Delete the last snapshot of trainer-2025."),
        *_spoken("Assistant", f"{call})"),
        *_spoken("Server", _text(planned).replace(token, short_token)),
        *_spoken("Assistant", "It is the only copy of a deleted VM. Do you want to delete it?"),
        *_spoken("You", "Yes."),
        *_spoken("Assistant", f'{call}, plan_token="{short_token}", confirm="{_SNAPSHOT_NAME}")'),
        *_spoken("Client form", questions[0]),
        *_spoken("You", _SNAPSHOT_NAME),
        *_spoken("Server", _text(deleted)),
    ]
    return "\n".join(lines) + "\n"


def _connect_embedded_cloud(settings: Settings, clock: Clock) -> Connection:
    return connection_over(embedded_transport(settings, clock), settings)


def _spoken(speaker: str, text: str) -> Iterator[str]:
    label = f"{speaker}:"
    for paragraph in text.splitlines():
        for line in wrap(paragraph, _TEXT_WIDTH, break_on_hyphens=False):
            yield f"{label:<{_LABEL_WIDTH}}{line}"
            label = ""


def _text(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


if __name__ == "__main__":
    sys.exit(main())
