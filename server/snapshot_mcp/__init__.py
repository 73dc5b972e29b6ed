"""An MCP server that manages the snapshots of cloud VMs."""

__version__ = "0.1.0"
