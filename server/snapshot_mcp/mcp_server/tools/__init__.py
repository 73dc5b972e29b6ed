"""The way in: the tools that a model calls."""
