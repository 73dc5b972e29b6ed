"""The commands that a person types. A start by an MCP client loads none of them."""
