"""What definitions and lists cost a model, in o200k tokens."""

import importlib
import json
from contextlib import ExitStack
from typing import Any

from bench.measurements import Measure, Measures, Spread, spread
from bench.servers import LIST_TOOL, OURS, SERVERS, Server, World, server_named
from bench.stdio_client import Message, StdioClient, result_of, text_of

ACCOUNT = 200
"""A team of 8 VMs has so many snapshots, so that a list tells that there are more."""

_INSPECTED = 1_800
_FOR_A_MODEL = ("name", "description", "inputSchema")
"""Clients hand these to the model; output schemas and hints are for the clients themselves."""


def measure_tokens(world: World) -> Measures:
    """Count the tokens of definitions, of lists of 20 and 100, and of one snapshot."""
    vocabulary: Any = importlib.import_module("rs_bpe")  # it has no types
    count = vocabulary.openai.o200k_base().count
    texts: dict[str, dict[str, str]] = {}
    with ExitStack() as stack:
        for server in SERVERS:
            client = stack.enter_context(world.loaded(server, ACCOUNT))
            texts[server.name] = _texts(client, server)
        ours = server_named(OURS)
        core = ours._replace(loaded=(*ours.loaded, "--tools", "core"))
        client = stack.enter_context(world.loaded(core, ACCOUNT))
        texts[OURS]["definitions_core"] = _definitions(_tools(client))
    counted: dict[str, dict[str, Spread]] = {title: {} for title in _TITLES}
    for name, own in texts.items():
        for key, text in own.items():
            counted[key][name] = spread([count(text)])
    return {key: Measure(title, "tokens", counted[key]) for key, title in _TITLES.items()}


_TITLES = {
    "definitions": "definitions of all tools, as a model is given them",
    "definitions_core": "definitions of the core tools (--tools core)",
    "definitions_whole": "definitions of all tools, with output schemas and hints",
    "text_20": "text of a list of 20",
    "text_100": "text of a list of 100",
    "structured_20": "structured content of a list of 20",
    "structured_100": "structured content of a list of 100",
    "inspect": "text of one snapshot",
}


def _texts(client: StdioClient, server: Server) -> dict[str, str]:
    tools = _tools(client)
    texts = {"definitions": _definitions(tools), "definitions_whole": _compact(tools)}
    for rows in (20, 100):
        result = client.call(LIST_TOOL, server.listing(rows))
        texts[f"text_{rows}"] = text_of(result)
        texts |= _structured(f"structured_{rows}", result)
    if server.inspect:
        tool, argument = server.inspect
        texts["inspect"] = text_of(client.call(tool, {argument: _INSPECTED}))
    return texts


def _tools(client: StdioClient) -> list[Message]:
    client.send("tools/list")
    tools: list[Message] = result_of(client.next_answer())["tools"]
    return tools


def _definitions(tools: list[Message]) -> str:
    return _compact([{key: tool.get(key) for key in _FOR_A_MODEL} for tool in tools])


def _structured(key: str, result: Message) -> dict[str, str]:
    content = result.get("structuredContent")
    return {key: _compact(content)} if content else {}


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
