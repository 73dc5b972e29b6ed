"""The command line. A start by an MCP client imports only `main` and `exit_codes`."""
