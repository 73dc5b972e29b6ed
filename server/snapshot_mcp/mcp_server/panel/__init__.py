"""The panel: a page that clients show beside a call, where a person inspects and confirms plans.

It uses the protocol extension `io.modelcontextprotocol/ui` (MCP Apps). The page is one HTML file;
its sources are in `server/ui/`, and `make panel` builds it.
"""
