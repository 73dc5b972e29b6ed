"""An MCP server that looks after the snapshots of cloud machines."""

__version__ = "0.1.0"
