"""The panel: a page that MCP clients show beside a call, where a person sees and agrees.

The page is one HTML file; its sources stand in `server/ui/`, and `make panel` builds it.
"""
