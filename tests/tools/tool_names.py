"""Names of the tools that the server declares."""

from snapshot_mcp.mcp_server.tools.toolsets import TOOLS

NAMES = [tool.name for tool in TOOLS]
READING = [tool.name for tool in TOOLS if tool.effect == "reads"]
