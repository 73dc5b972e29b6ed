"""The `install` command: add this server to the configuration of an MCP client."""
