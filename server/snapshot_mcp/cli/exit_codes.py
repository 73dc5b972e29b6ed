"""How a command ends, as its caller sees it."""

OK = 0
FAILED = 1
BAD_SETTINGS = 2
"""Bad settings or bad arguments."""
NOT_AGREED = 3
"""A plan was answered and nobody agreed to it: nothing was changed."""
INTERRUPTED = 130
