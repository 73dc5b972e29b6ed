"""Adding this server to the configuration of an MCP client, and removing it."""
