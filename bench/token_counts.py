"""Tokens (o200k) that a model reads: definitions of tools, lists, and one snapshot."""

import importlib
import json
from contextlib import ExitStack
from typing import Any

from bench.measurements import Measure, Measures, Spread, spread
from bench.servers import LIST_TOOL, SERVERS, SNAPSHOT_MCP, Server, Testbed, server_named
from bench.stdio_client import Message, StdioClient, parse_result, text_of

ACCOUNT_SIZE = 200
"""The snapshots of a team with 8 VMs; a list of 100 mentions that there are more."""

_INSPECTED_ID = 1_800
_MODEL_FIELDS = ("name", "description", "inputSchema")
"""The fields that clients pass to the model; output schemas and hints are for the clients."""


def measure_tokens(testbed: Testbed) -> Measures:
    """Count the tokens of definitions, of lists of 20 and 100, and of one snapshot."""
    vocabulary: Any = importlib.import_module("rs_bpe")  # it has no types
    count = vocabulary.openai.o200k_base().count
    texts: dict[str, dict[str, str]] = {}
    with ExitStack() as stack:
        for server in SERVERS:
            client = stack.enter_context(testbed.start(server, ACCOUNT_SIZE))
            texts[server.name] = _texts(client, server)
        full = server_named(SNAPSHOT_MCP)
        core = full._replace(load_arguments=(*full.load_arguments, "--tools", "core"))
        client = stack.enter_context(testbed.start(core, ACCOUNT_SIZE))
        texts[SNAPSHOT_MCP]["definitions_core"] = _definitions(_list_tools(client))
    counts: dict[str, dict[str, Spread]] = {key: {} for key in _TITLES}
    for name, server_texts in texts.items():
        for key, text in server_texts.items():
            counts[key][name] = spread([count(text)])
    return {key: Measure(title, "tokens", counts[key]) for key, title in _TITLES.items()}


_TITLES = {
    "definitions": "definitions of all tools, as passed to a model",
    "definitions_core": "definitions of the core tools (--tools core)",
    "definitions_whole": "definitions of all tools, with output schemas and hints",
    "text_20": "text of a list of 20",
    "text_100": "text of a list of 100",
    "structured_20": "structured content of a list of 20",
    "structured_100": "structured content of a list of 100",
    "inspect": "text of one snapshot",
}


def _texts(client: StdioClient, server: Server) -> dict[str, str]:
    tools = _list_tools(client)
    texts = {"definitions": _definitions(tools), "definitions_whole": _compact_json(tools)}
    for count in (20, 100):
        result = client.call(LIST_TOOL, server.list_arguments(count))
        texts[f"text_{count}"] = text_of(result)
        if content := result.get("structuredContent"):
            texts[f"structured_{count}"] = _compact_json(content)
    if server.inspect_tool:
        tool, argument = server.inspect_tool
        texts["inspect"] = text_of(client.call(tool, {argument: _INSPECTED_ID}))
    return texts


def _list_tools(client: StdioClient) -> list[Message]:
    client.send("tools/list")
    tools: list[Message] = parse_result(client.next_answer())["tools"]
    return tools


def _definitions(tools: list[Message]) -> str:
    return _compact_json([{key: tool.get(key) for key in _MODEL_FIELDS} for tool in tools])


def _compact_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
