"""The `install` command."""
