"""Exit codes of every command."""

OK = 0
FAILED = 1
BAD_SETTINGS = 2
"""Bad settings or bad arguments."""
NOT_CONFIRMED = 3
"""The tool returned a plan and no person confirmed it; nothing was changed."""
INTERRUPTED = 130
CLOSED_PIPE = 141
"""The reader of stdout closed it, as `head` does; shells report SIGPIPE with the same code."""
