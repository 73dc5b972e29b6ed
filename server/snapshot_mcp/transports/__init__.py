"""Transports: serve MCP over stdio and over Streamable HTTP."""
