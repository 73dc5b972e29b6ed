"""Text content of the tools' results."""
