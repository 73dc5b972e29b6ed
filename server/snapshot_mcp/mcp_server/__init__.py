"""The MCP server: tools, prompts, resources and the panel."""
